"""Times ggml's products of Q8_0 matrices: run by `bench npu` as a script, under whatever Python has llama-cpp-python.

Takes threads, rows, columns, the number of matrices and counts of feature rows; prints multiply-accumulates a second
for each count as JSON. Imports nothing of the project, which that Python may not have.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import statistics
import sys
import time
from pathlib import Path

ROUNDS = 5
F32, Q8_0 = 0, 8  # enum ggml_type
ROOM = 1 << 20  # bytes for graphs and tensors' descriptions
FILL = 0x3C  # a float and an fp16 scale of about one, whatever is made of it


class InitParams(ctypes.Structure):
    """struct ggml_init_params."""

    _fields_ = (("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


def library() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    """ggml and its CPU part, as llama-cpp-python brings them."""
    folder = Path(str(importlib.import_module("llama_cpp").__file__)).parent / "lib"
    base, cpu = (ctypes.CDLL(str(folder / f"libggml-{name}.so"), mode=ctypes.RTLD_GLOBAL) for name in ("base", "cpu"))
    pointer, number, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
    base.ggml_init.restype, base.ggml_init.argtypes = pointer, [InitParams]
    base.ggml_free.argtypes = [pointer]
    base.ggml_new_tensor_2d.restype, base.ggml_new_tensor_2d.argtypes = pointer, [pointer, number, size, size]
    base.ggml_mul_mat.restype, base.ggml_mul_mat.argtypes = pointer, [pointer, pointer, pointer]
    base.ggml_new_graph.restype, base.ggml_new_graph.argtypes = pointer, [pointer]
    base.ggml_build_forward_expand.argtypes = [pointer, pointer]
    base.ggml_get_data.restype, base.ggml_get_data.argtypes = pointer, [pointer]
    base.ggml_nbytes.restype, base.ggml_nbytes.argtypes = ctypes.c_size_t, [pointer]
    cpu.ggml_graph_compute_with_ctx.argtypes = [pointer, pointer, number]
    cpu.ggml_cpu_init()
    return base, cpu


def rate(threads: int, rows: int, columns: int, matrices: int, count: int) -> float:
    """The median of a few rounds, after one to warm up."""
    base, cpu = library()
    macs = matrices * rows * columns * count
    size = matrices * (2 * rows * columns + 4 * (rows + 8 * columns) * count) + threads * ROOM
    context = base.ggml_init(InitParams(size, None, False))
    graph = base.ggml_new_graph(context)
    for _ in range(matrices):
        weights = base.ggml_new_tensor_2d(context, Q8_0, columns, rows)
        features = base.ggml_new_tensor_2d(context, F32, columns, count)
        for tensor in (weights, features):
            ctypes.memset(base.ggml_get_data(tensor), FILL, base.ggml_nbytes(tensor))
        base.ggml_build_forward_expand(graph, base.ggml_mul_mat(context, weights, features))
    seconds = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        if cpu.ggml_graph_compute_with_ctx(context, graph, threads):
            raise RuntimeError("ggml computes nothing")
        seconds.append(time.perf_counter() - start)
    base.ggml_free(context)
    return macs / statistics.median(seconds[1:])


if __name__ == "__main__":
    thread_count, row_count, column_count, matrix_count, *counts = map(int, sys.argv[1:])
    json.dump([rate(thread_count, row_count, column_count, matrix_count, count) for count in counts], sys.stdout)
