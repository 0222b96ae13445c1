"""The trained network as a GGUF file that llama.cpp reads, and back.

All blocks of a row share one scale, that of int8 per output channel. So the serving system, which turns Q8_0 into
int8 per output channel, gets exactly the integers that stand in the file.
"""

from pathlib import Path

import gguf
import numpy as np
import torch
from numpy.typing import NDArray

from .network import Network, Shape
from .tokenizer import BEGIN, END, UNKNOWN, Piece

BLOCK = 32                  # elements of a Q8_0 block: an f16 scale and 32 int8


def write(path: Path, network: Network, pieces: list[Piece]) -> None:
    """Write the network, matrices as Q8_0 and norms as F32; the file appears whole or not at all."""
    unfinished = path.with_suffix(".part")
    writer = gguf.GGUFWriter(unfinished, "llama")
    add_metadata(writer, network.shape)
    add_vocabulary(writer, pieces)
    for name, weight in network.state_dict().items():
        values = weight.float().numpy()
        if values.ndim == 2:
            writer.add_tensor(name, q8_0(values), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.replace(path)


def add_metadata(writer: gguf.GGUFWriter, shape: Shape) -> None:
    """What llama.cpp must know of a `llama`."""
    writer.add_name("FlexServe demo")
    writer.add_description("Trained on the King James Bible (out of copyright)")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_block_count(shape.layers)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)


def add_vocabulary(writer: gguf.GGUFWriter, pieces: list[Piece]) -> None:
    """A SentencePiece vocabulary, which GGUF calls `llama`."""
    writer.add_tokenizer_model("llama")
    writer.add_token_list([piece.text for piece in pieces])
    writer.add_token_scores([piece.score for piece in pieces])
    writer.add_token_types([int(piece.type) for piece in pieces])
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(False)


def q8_0(matrix: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Rows (outputs, inputs) as the bytes of Q8_0 blocks (outputs, bytes), one scale a row."""
    scale = (np.abs(matrix).max(axis=1, keepdims=True) / 127).astype(np.float16)
    steps = np.divide(matrix, scale, out=np.zeros_like(matrix), where=scale > 0)
    integers = np.clip(np.rint(steps), -127, 127).astype(np.int8)
    blocks = integers.view(np.uint8).reshape(len(matrix), -1, BLOCK)
    scales = np.broadcast_to(scale.view(np.uint8)[:, None, :], (*blocks.shape[:2], scale.itemsize))
    return np.concatenate((scales, blocks), axis=2).reshape(len(matrix), -1)


def read(path: Path, shape: Shape, dropout: float = 0.0) -> Network:
    """The network with the values that the file holds."""
    network = Network(shape, dropout).eval()
    tensors = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
               for tensor in gguf.GGUFReader(path).tensors}
    network.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in tensors.items()})
    return network
