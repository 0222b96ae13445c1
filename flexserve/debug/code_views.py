"""Code and memory: where the core stands, what is around it, who called."""

from __future__ import annotations

from dataclasses import asdict

from rich.text import Text

from emulator.debug.backtrace import Frame
from emulator.debug.backtrace import backtrace as unwind
from emulator.debug.disassembly import Instruction, disassemble
from emulator.debug.memory import dump
from emulator.debug.registers import read_registers
from emulator.debug.walk import read_virtual

from .expressions import evaluate, number
from .scene import Answer, Refused, Scene, Words, expect_none, lines
from .styles import DIM, NAME

MAX_BYTES = 0x10000


def place_line(scene: Scene) -> Text:
    """Level, world, symbol and source line of the next instruction."""
    registers = read_registers(scene.machine.core)
    text = Text.assemble((f"{registers.place}  ", NAME), f"{registers.pc:#x}")
    if name := scene.sources.name_at(registers.pc):
        text.append(f" <{name}>", NAME)
    if source := scene.sources.line_at(registers.pc):
        text.append(f"  {source}", DIM)
    return text


def where(scene: Scene) -> Answer:
    """The next instruction with its source line."""
    registers = read_registers(scene.machine.core)
    source = scene.sources.line_at(registers.pc)
    found = _instructions(scene, registers.pc, 1)
    shown = [place_line(scene)]
    if source and (text := scene.sources.text_at(source)):
        shown.append(Text(f"  {source.line:4} | {text.expandtabs(4)}"))
    shown += [Text(f"   => {found[0].text}" + _target(found[0]), "bold")] if found else []
    data = {
        "pc": registers.pc,
        "place": scene.sources.name_at(registers.pc),
        "level": registers.level,
        "world": registers.world.name.lower(),
        "source": str(source) if source else None,
        "instruction": found[0].text if found else None,
    }
    return Answer(data, tuple(shown))


def _instructions(scene: Scene, address: int, count: int) -> tuple[Instruction, ...]:
    found = b""
    for index in range(count):
        try:
            found += read_virtual(scene.machine, address + 4 * index, 4)
        except ValueError:
            if not index:
                return ()
            break
    return disassemble(found, address, scene.sources)


def _target(instruction: Instruction) -> str:
    return f" <{instruction.target}>" if instruction.target else ""


def show_code(scene: Scene, words: Words) -> Answer:
    pc = scene.machine.core.pc
    address = evaluate(scene, words[0]) if words else pc - 12
    count = number(words[1], "count") if len(words) > 1 else 8
    found = _instructions(scene, address & ~3, min(count, MAX_BYTES))
    if not found:
        raise Refused(f"nothing is mapped at {address:#x} in this context; `memory phys ADDRESS` shows memory as it is")
    shown, before = [], None
    for one in found:
        if one.source and one.source != before:
            text = scene.sources.text_at(one.source)
            shown.append(Text(f"{one.source}: {(text or '').strip()}", DIM))
        before = one.source
        mark = "=>" if one.address == pc else "  "
        where = f" <{one.place}>" if one.place else ""
        shown.append(Text(f"{mark} {one.address:#x}{where}  {one.text}{_target(one)}", "bold" if mark == "=>" else ""))
    data = [
        {"address": one.address, "word": one.word, "text": one.text, "place": one.place, "source": str(one.source)}
        for one in found
    ]
    return Answer({"instructions": data}, tuple(shown))


def show_backtrace(scene: Scene, words: Words) -> Answer:
    expect_none(words)
    frames = unwind(scene.machine, scene.sources)
    data = [{**asdict(frame), "source": str(frame.source) if frame.source else None} for frame in frames]
    return Answer({"frames": data}, tuple(_frame_line(index, frame) for index, frame in enumerate(frames)))


def _frame_line(index: int, frame: Frame) -> Text:
    text = Text()
    if frame.entered:
        text.append(f"    -- {frame.entered} --\n", "yellow")
    text.append(f"#{index:<2} EL{frame.level} {frame.address:#x}")
    text.append(f" {frame.place or '?'}", NAME)
    return text.append(f"  {frame.source}", DIM) if frame.source else text


def show_list(scene: Scene, words: Words) -> Answer:
    """Source lines around the next instruction."""
    address = evaluate(scene, words[0]) if words else scene.machine.core.pc
    source = scene.sources.line_at(address)
    text = scene.sources.text(source.path) if source else None
    if source is None or text is None:
        raise Refused(f"no source is known for {address:#x}; `code` shows the instructions")
    first = max(source.line - 6, 0)
    shown = [
        Text(f"{'=>' if line == source.line else '  '} {line:4} | {content.expandtabs(4)}")
        for line, content in enumerate(text[first : source.line + 5], first + 1)
    ]
    return Answer({"path": source.path, "line": source.line}, (Text(source.path, NAME), *shown))


def show_memory(scene: Scene, words: Words) -> Answer:
    physical = bool(words) and words[0] in {"phys", "physical", "p"}
    rest = words[1:] if physical else words
    if not rest:
        raise Refused("which address? memory [phys] ADDRESS [BYTES]")
    address = evaluate(scene, rest[0])
    size = number(rest[1], "count of bytes") if len(rest) > 1 else 64
    try:
        found = dump(scene.machine, address, min(size, MAX_BYTES), physical=physical)
    except ValueError as error:
        raise Refused(str(error)) from None
    data = {"address": address, "physical": physical, "bytes": b"".join(line.data for line in found).hex()}
    return Answer(data, lines(*map(str, found)))
