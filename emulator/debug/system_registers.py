"""The system registers that matter, field by field (Arm ARM D19): the only place where their fields are declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from emulator.core import SYSTEM_REGISTERS, Core
from emulator.debug.fields import DecodedField, DecodedRegister, by_position, cut
from emulator.debug.syndrome import describe_syndrome

# "NAME:msb-lsb" or "NAME:bit", in the order of the manual.
_SCTLR = "M:0 A:1 C:2 SA:3 I:12 WXN:19 EE:25"
_SPSR = "M:3-0 nRW:4 F:6 I:7 A:8 D:9 IL:20 SS:21 V:28 C:29 Z:30 N:31"
_TIMER = "ENABLE:0 IMASK:1 ISTATUS:2"
_TCR_ONE = "T0SZ:5-0 IRGN0:9-8 ORGN0:11-10 SH0:13-12 TG0:15-14 PS:18-16 TBI:20"
_MAIR = " ".join(f"Attr{index}:{8 * index + 7}-{8 * index}" for index in range(8))

FIELDS: Mapping[str, str] = {
    "SCTLR_EL1": _SCTLR + " SA0:4 CP15BEN:5 ITD:7 SED:8 UMA:9 DZE:14 UCT:15 nTWI:16 nTWE:18 E0E:24 UCI:26",
    "CPACR_EL1": "FPEN:21-20 TTA:28",
    "TTBR0_EL1": "BADDR:47-0 ASID:63-48",
    "TTBR1_EL1": "BADDR:47-0 ASID:63-48",
    "TCR_EL1": "T0SZ:5-0 EPD0:7 IRGN0:9-8 ORGN0:11-10 SH0:13-12 TG0:15-14 T1SZ:21-16 A1:22 EPD1:23 IRGN1:25-24"
    " ORGN1:27-26 SH1:29-28 TG1:31-30 IPS:34-32 AS:36 TBI0:37 TBI1:38",
    "SPSR_EL1": _SPSR,
    "ESR_EL1": "ISS:24-0 IL:25 EC:31-26",
    "PAR_EL1": "F:0 FST:6-1 SH:8-7 NS:9 PA:47-12 ATTR:63-56",
    "MAIR_EL1": _MAIR,
    "CNTKCTL_EL1": "EL0PCTEN:0 EL0VCTEN:1 EVNTEN:2 EVNTDIR:3 EVNTI:7-4 EL0VTEN:8 EL0PTEN:9",
    "CNTP_CTL_EL0": _TIMER,
    "CNTV_CTL_EL0": _TIMER,
    "CNTPS_CTL_EL1": _TIMER,
    "HCR_EL2": "VM:0 SWIO:1 PTW:2 FMO:3 IMO:4 AMO:5 VF:6 VI:7 VSE:8 FB:9 BSU:11-10 DC:12 TWI:13 TWE:14 TID0:15 TID1:16"
    " TID2:17 TID3:18 TSC:19 TIDCP:20 TACR:21 TSW:22 TPCP:23 TPU:24 TTLB:25 TVM:26 TGE:27 TDZ:28 HCD:29 TRVM:30 RW:31"
    " CD:32 ID:33",
    "SCTLR_EL2": _SCTLR,
    "MDCR_EL2": "HPMN:4-0 TPMCR:5 TPM:6 HPME:7 TDE:8 TDA:9 TDOSA:10 TDRA:11",
    "CPTR_EL2": "TFP:10 TTA:20 TCPAC:31",
    "TTBR0_EL2": "BADDR:47-0",
    "TCR_EL2": _TCR_ONE,
    "VTTBR_EL2": "BADDR:47-0 VMID:63-48",
    "VTCR_EL2": "T0SZ:5-0 SL0:7-6 IRGN0:9-8 ORGN0:11-10 SH0:13-12 TG0:15-14 PS:18-16 VS:19",
    "MAIR_EL2": _MAIR,
    "SPSR_EL2": _SPSR,
    "ESR_EL2": "ISS:24-0 IL:25 EC:31-26",
    "HPFAR_EL2": "FIPA:39-4",
    "CNTHCTL_EL2": "EL1PCTEN:0 EL1PCEN:1 EVNTEN:2 EVNTDIR:3 EVNTI:7-4",
    "CNTHP_CTL_EL2": _TIMER,
    "SCTLR_EL3": _SCTLR,
    "SCR_EL3": "NS:0 IRQ:1 FIQ:2 EA:3 SMD:7 HCE:8 SIF:9 RW:10 ST:11 TWI:12 TWE:13",
    "CPTR_EL3": "TFP:10 TTA:20 TCPAC:31",
    "MDCR_EL3": "TPM:6 TDA:9 TDOSA:10 SPD32:15-14 SDD:16",
    "TTBR0_EL3": "BADDR:47-0",
    "TCR_EL3": _TCR_ONE,
    "MAIR_EL3": _MAIR,
    "SPSR_EL3": _SPSR,
    "ESR_EL3": "ISS:24-0 IL:25 EC:31-26",
    "PSTATE": _SPSR + " PAN:22",
}

MODES = {0: "EL0t", 4: "EL1t", 5: "EL1h", 8: "EL2t", 9: "EL2h", 12: "EL3t", 13: "EL3h"}
_SIZES = {0: "4 GiB", 1: "64 GiB", 2: "1 TiB", 3: "4 TiB", 4: "16 TiB", 5: "256 TiB"}
_SHAREABLE = {0: "non-shareable", 2: "outer shareable", 3: "inner shareable"}
_CACHEABLE = {0: "non-cacheable", 1: "write-back, allocating", 2: "write-through", 3: "write-back"}
_ON = {0: "off", 1: "on"}


def _input_size(value: int) -> str:
    return f"{64 - value}-bit addresses"


def _memory_type(value: int) -> str:
    """MAIR, D19.2.104."""
    if value & 0xF0 == 0:
        return {0: "Device-nGnRnE", 4: "Device-nGnRE", 8: "Device-nGRE", 0xC: "Device-GRE"}.get(value, "reserved")
    return {0xFF: "Normal write-back", 0x44: "Normal non-cacheable", 0xBB: "Normal write-through"}.get(value, "Normal")


Meaning = Callable[[int], str]

# What a field's value means, by register and field or by field alone.
_MEANINGS: Mapping[str, Meaning] = {
    "SCR_EL3.NS": lambda value: "normal world" if value else "secure world",
    "SCR_EL3.SIF": lambda value: "secure fetches from non-secure memory refused" if value else "",
    "SCR_EL3.SMD": lambda value: "SMC disabled" if value else "",
    "SCR_EL3.FIQ": lambda value: "to EL3" if value else "",
    "SCR_EL3.IRQ": lambda value: "to EL3" if value else "",
    "SCR_EL3.EA": lambda value: "external aborts to EL3" if value else "",
    "HCR_EL2.VM": lambda value: "stage 2 " + _ON[value],
    "M": lambda value: "MMU " + _ON[value],
    "WXN": lambda value: "writable is never executable" if value else "",
    "mode": lambda value: MODES.get(value, "illegal"),
    "SPSR.A": lambda value: "SError masked" if value else "",
    "SPSR.I": lambda value: "IRQ masked" if value else "",
    "SPSR.F": lambda value: "FIQ masked" if value else "",
    "SPSR.D": lambda value: "debug masked" if value else "",
    "T0SZ": _input_size,
    "T1SZ": _input_size,
    "PS": lambda value: _SIZES.get(value, "reserved"),
    "IPS": lambda value: _SIZES.get(value, "reserved"),
    "TG0": lambda value: {0: "4 KiB", 1: "64 KiB", 2: "16 KiB"}.get(value, "reserved"),
    "TG1": lambda value: {2: "4 KiB", 3: "64 KiB", 1: "16 KiB"}.get(value, "reserved"),
    "SH0": lambda value: _SHAREABLE.get(value, "reserved"),
    "SH1": lambda value: _SHAREABLE.get(value, "reserved"),
    "IRGN0": lambda value: _CACHEABLE[value],
    "ORGN0": lambda value: _CACHEABLE[value],
    "VTCR_EL2.SL0": lambda value: {0: "starts at level 2", 1: "starts at level 1", 2: "starts at level 0"}.get(
        value, "reserved"
    ),
    "HPFAR_EL2.FIPA": lambda value: f"IPA page {value << 12:#x}",
    "FPEN": lambda value: {0: "FP traps", 1: "FP traps at EL0", 2: "FP traps", 3: "FP allowed"}[value],
    "PAR_EL1.F": lambda value: "translation failed" if value else "translated",
    "ISTATUS": lambda value: "due" if value else "",
}


@dataclass(frozen=True)
class Bits:
    """One declared field."""

    name: str
    msb: int
    lsb: int


def declared(name: str) -> tuple[Bits, ...]:
    """The fields of a register, none where its value is one address or number. Raises KeyError for an unknown name."""
    if name not in FIELDS and name not in SYSTEM_REGISTERS:
        raise KeyError(name)
    return tuple(_bits(word) for word in FIELDS.get(name, "").split())


def decode(name: str, value: int) -> DecodedRegister:
    """Take ``value`` of register ``name`` apart. Raises KeyError for an unknown name."""
    fields = [
        DecodedField(bits.name, bits.msb, bits.lsb, cut(value, bits.msb, bits.lsb), _meaning(name, bits, value))
        for bits in declared(name)
    ]
    what = describe_syndrome(value) if name.startswith("ESR_") else ""
    return DecodedRegister(name, value, 32 if name == "PSTATE" else 64, by_position(fields), what)


def read(core: Core, name: str) -> DecodedRegister:
    """A system register, or PSTATE, as the core has it now. Raises KeyError for an unknown name."""
    return decode(name, core.pstate if name == "PSTATE" else core.read_sysreg(name))


def read_all(core: Core) -> tuple[DecodedRegister, ...]:
    """PSTATE, then every known system register."""
    return tuple(read(core, name) for name in ("PSTATE", *SYSTEM_REGISTERS))


def _bits(word: str) -> Bits:
    name, _, place = word.partition(":")
    msb, _, lsb = place.partition("-")
    return Bits(name, int(msb), int(lsb or msb))


def _meaning(register: str, bits: Bits, value: int) -> str:
    kind, name = register, bits.name
    if register == "PSTATE" or register.startswith("SPSR"):
        kind, name = "SPSR", "mode" if bits.name == "M" else bits.name
    elif name.startswith("Attr"):
        return _memory_type(cut(value, bits.msb, bits.lsb))
    meaning = _MEANINGS.get(f"{kind}.{name}") or _MEANINGS.get(name)
    return meaning(cut(value, bits.msb, bits.lsb)) if meaning else ""
