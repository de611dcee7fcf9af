"""Which sample format keeps what a source holds; standard library and the reader only."""

from typing import Literal, TypeAlias

from musproj.processors.blocks import BlockReader, SampleType

WantedBits: TypeAlias = Literal["source", 16, 24, 32, "float"]

_USUAL_BITS = 24
_NO_FLOATS = ("flac", "alac")


def bits_of(source: BlockReader) -> int | None:
    """Return the bits that hold the integers of `source` exactly, 16, 24 or 32; None where it has none."""
    if not source.is_integer:
        return None
    bits = source.info.bits or _USUAL_BITS
    return next(width for width in (16, 24, 32) if width >= bits)


def chosen_bits(wanted: WantedBits, source: BlockReader, codec: str) -> int | Literal["float"]:
    """Return what to write: for `source` as many bits as it holds, 24 where that is no number of bits."""
    if wanted != "source":
        return wanted
    if source.info.is_float and codec not in _NO_FLOATS:
        return "float"
    bits = bits_of(source) or _USUAL_BITS
    return min(bits, _USUAL_BITS) if codec in _NO_FLOATS else bits


def exact_type(source: BlockReader, bits: int | Literal["float"]) -> SampleType:
    """Return the type in which blocks go from `source` to `bits` unchanged; floats where they cannot."""
    held = bits_of(source)
    if held is None or bits == "float" or held > bits:
        return "float32"
    return "int16" if held == 16 else "int32"
