"""PL011 UART (Arm DDI 0183): a console whose line takes bytes as fast as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from emulator.memory_map import Window
from emulator.registers import RO, W1C, WO, Register

from .device import Device, EventSink

FIFO_DEPTH = 16
TRIGGER_LEVELS = (2, 4, 8, 12, 14)  # of the FIFO's 16, by IFLS

INTERRUPTS = {
    "cts": (1, 1),
    "receive": (4, 4),
    "transmit": (5, 5),
    "receive_timeout": (6, 6),
    "framing_error": (7, 7),
    "parity_error": (8, 8),
    "break_error": (9, 9),
    "overrun_error": (10, 10),
}
RECEIVE, TRANSMIT, RECEIVE_TIMEOUT = 1 << 4, 1 << 5, 1 << 6


class Uart(Device):
    """PL011 UART (Arm DDI 0183).

    ``output`` gathers what was sent; ``on_line`` is called with each complete line, without its newline, ``on_byte``
    with each byte. ``on_look``: software looks at the flags and nothing has arrived (more may, by `receive`, at once).
    ``always_on``: transmitter and receiver work whatever CR says, as software that only knows QEMU's PL011 relies on.
    """

    prefix = "UART"
    held = ("output", "_line", "_waiting", "_received", "_transmit_done")
    takes_narrow = True  # Linux drives the PL011 with 16-bit accesses

    DR = Register(0x000, pops=True, fields={"data": (7, 0), "error": (11, 8, RO)})
    RSR = Register(0x004, access=W1C, fields={"error": (3, 0)}, what="No errors on this line.")
    FR = Register(
        0x018,
        access=RO,
        fields={
            "cts": (0, 0),
            "dsr": (1, 1),
            "dcd": (2, 2),
            "busy": (3, 3),
            "rxfe": (4, 4),
            "txff": (5, 5),
            "rxff": (6, 6),
            "txfe": (7, 7),
            "ri": (8, 8),
        },
    )
    IBRD = Register(0x024, fields={"divisor": (15, 0)})
    FBRD = Register(0x028, fields={"divisor": (5, 0)})
    LCR_H = Register(
        0x02C,
        fields={
            "brk": (0, 0),
            "pen": (1, 1),
            "eps": (2, 2),
            "stp2": (3, 3),
            "fen": (4, 4),
            "wlen": (6, 5),
            "sps": (7, 7),
        },
    )
    CR = Register(
        0x030,
        fields={
            "uarten": (0, 0),
            "siren": (1, 1),
            "sirlp": (2, 2),
            "lbe": (7, 7),
            "txe": (8, 8),
            "rxe": (9, 9),
            "dtr": (10, 10),
            "rts": (11, 11),
            "out1": (12, 12),
            "out2": (13, 13),
            "rtsen": (14, 14),
            "ctsen": (15, 15),
        },
        reset=0x300,
    )
    IFLS = Register(0x034, fields={"transmit": (2, 0), "receive": (5, 3)}, reset=0x12)
    IMSC = Register(0x038, fields=INTERRUPTS)
    RIS = Register(0x03C, access=RO, fields=INTERRUPTS)
    MIS = Register(0x040, access=RO, fields=INTERRUPTS)
    ICR = Register(0x044, access=WO, fields=INTERRUPTS)

    PERIPHERAL_ID = Register(0xFE0, access=RO, fields={"id": (7, 0)}, count=4, reset=(0x11, 0x10, 0x34, 0x00))
    COMPONENT_ID = Register(0xFF0, access=RO, fields={"id": (7, 0)}, count=4, reset=(0x0D, 0xF0, 0x05, 0xB1))

    def __init__(
        self,
        window: Window,
        events: EventSink,
        on_line: Callable[[bytes], None] | None = None,
        *,
        on_byte: Callable[[int], None] | None = None,
        always_on: bool = False,
        on_look: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(window, events)
        self._on_byte = on_byte
        self._on_look = on_look
        self._always_on = always_on
        self.output = bytearray()
        self._line = bytearray()
        self._on_line = on_line
        self._waiting: deque[int] = deque()  # sent while the transmitter is off
        self._received: deque[int] = deque()
        self._transmit_done = False

    def receive(self, data: bytes) -> None:
        """Bytes arrive on the line; they wait there while the FIFO is full."""
        self._received.extend(data)
        self.signal()

    def listens(self) -> bool:
        """Its interrupt would ring if something came, and nothing is there."""
        return not self._received and bool(self.IMSC.value & (RECEIVE | RECEIVE_TIMEOUT))

    def interrupts(self) -> bool:
        return bool(self._masked_interrupts())

    @DR.on_write
    def _send(self, value: int) -> None:
        self.DR.value = 0
        if len(self._waiting) < FIFO_DEPTH:
            self._waiting.append(value & 0xFF)
        self._drain()

    @CR.on_write
    def _control_written(self, value: int) -> None:
        self._drain()

    @DR.on_read
    def _next_byte(self) -> int:
        return self._received.popleft() if self._receiving() else 0

    @FR.on_read
    def _flags(self) -> int:
        if self._on_look is not None and not self._received:
            self._on_look()
        empty, full = not self._receiving(), len(self._received) >= FIFO_DEPTH and self._receiving()
        waiting = len(self._waiting)
        return empty << 4 | (waiting >= FIFO_DEPTH) << 5 | full << 6 | (not waiting) << 7

    @RIS.on_read
    def _raw_interrupts(self) -> int:
        count = len(self._received) if self._receiving() else 0
        level = TRIGGER_LEVELS[min(self.IFLS["receive"], len(TRIGGER_LEVELS) - 1)] if self.LCR_H["fen"] else 1
        received = (RECEIVE if count >= level else 0) | (RECEIVE_TIMEOUT if count else 0)
        return received | (TRANSMIT if self._transmit_done else 0)

    @MIS.on_read
    def _masked_interrupts(self) -> int:
        return self._raw_interrupts() & self.IMSC.value

    @ICR.on_write
    def _interrupts_cleared(self, value: int) -> None:
        if value & TRANSMIT:
            self._transmit_done = False

    def _receiving(self) -> bool:
        return bool(self._received) and self._enabled("rxe")

    def _enabled(self, direction: str) -> bool:
        return self._always_on or bool(self.CR["uarten"] and self.CR[direction])

    def _drain(self) -> None:
        while self._waiting and self._enabled("txe"):
            self._transmit_done = True
            byte = self._waiting.popleft()
            self.output.append(byte)
            if self._on_byte is not None:
                self._on_byte(byte)
            if byte != ord("\n"):
                self._line.append(byte)
                continue
            line, self._line = bytes(self._line), bytearray()
            if self._on_line is not None:
                self._on_line(line)
