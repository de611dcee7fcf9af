"""AIFF and AIFF-C, read by a bounded walk over their chunks.

Layout: Apple, Audio Interchange File Format 1.3 and AIFF-C (draft of 1991).
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import attrs

from musproj.errors import NonFiniteError, UnsupportedFormatError
from musproj.processors._formats.header import (
    MAX_CHUNK_BYTES,
    MAX_CHUNKS,
    Extent,
    Header,
    Note,
    SampleFormat,
    checked_shape,
    corrupt,
    pcm_header,
    pcm_width,
    read_exactly,
)

_COMMON_BYTES = 18
_SOUND_BYTES = 8  # offset and block size, before the samples
_INFINITE = 0x7FFF  # exponent of an 80-bit float that is infinite or no number

_FLOATS = {b"fl32": 4, b"FL32": 4, b"fl64": 8, b"FL64": 8}
_INTEGERS = {b"NONE": (0, True), b"twos": (0, True), b"sowt": (0, False), b"in24": (3, True), b"in32": (4, True)}
"""Compression → width in bytes (0: as the bits say), big-endian."""


@attrs.define
class _Walk:
    common: bytes | None = None
    sound: Extent | None = None


def parse(file: BinaryIO, size: int) -> Header:
    """Return the header of the AIFF or AIFF-C file `file` of `size` bytes.

    Raises:
        AudioCorruptError: chunks missing, doubled or cut.
        NonFiniteError: the sample rate is no number.
        UnsupportedFormatError: a compression that is not read here.
    """
    compressed = read_exactly(file, 12)[8:] == b"AIFC"
    walk = _Walk()
    for name, start, length in _chunks(file, size):
        if name == b"COMM" and walk.common is None:
            file.seek(start)
            walk.common = read_exactly(file, min(length, MAX_CHUNK_BYTES))
        elif name == b"SSND":
            _take_sound(walk, file, start, length, size)
    if walk.common is None or len(walk.common) < _COMMON_BYTES:
        corrupt("there is no complete common chunk")
    channels, frames, bits = struct.unpack_from(">HIH", walk.common)
    rate = _extended(walk.common[8:18])
    checked_shape(rate, channels)
    sample = _sample(walk.common[18:22] if compressed else b"NONE", bits)
    if walk.sound is None:
        if frames:
            corrupt("there is no sound chunk")
        walk.sound = Extent(size, 0, 0)
    claim = frames * channels * sample.width if frames else None  # a recorder that streamed leaves 0
    if not walk.sound.size:
        claim = 0 if claim is None else claim
    agreed = walk.sound.claimed is None or walk.sound.claimed >= (claim or 0)
    notes = () if agreed else (Note("headerInconsistent", "The sound chunk is shorter than the frames claimed."),)
    return pcm_header(
        container="aiff",
        sample=sample,
        sample_rate=rate,
        channels=channels,
        bits=bits,
        extent=Extent(walk.sound.offset, claim, walk.sound.size),
        notes=notes,
    )


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    at = 12
    count = 0
    while at + 8 <= size:
        count += 1
        if count > MAX_CHUNKS:
            corrupt(f"it has more than {MAX_CHUNKS} chunks")
        file.seek(at)
        name, length = struct.unpack(">4sI", file.read(8))
        yield name, at + 8, length
        at += 8 + length + (length & 1)


def _take_sound(walk: _Walk, file: BinaryIO, start: int, length: int, size: int) -> None:
    if walk.sound is not None:
        corrupt("it has two sound chunks")
    file.seek(start)
    (offset,) = struct.unpack(">I4x", read_exactly(file, _SOUND_BYTES))
    first = start + _SOUND_BYTES + offset
    if first > size:
        corrupt("the samples begin behind the end of the file")
    claimed = length - _SOUND_BYTES - offset if length else None
    walk.sound = Extent(first, None if claimed is None else max(0, claimed), size - first)


def _sample(compression: bytes, bits: int) -> SampleFormat:
    if compression in _FLOATS:
        return SampleFormat(kind="float", width=_FLOATS[compression], big_endian=True)
    if compression in _INTEGERS:
        width, big_endian = _INTEGERS[compression]
        return SampleFormat(kind="int", width=width or pcm_width(bits), big_endian=big_endian)
    if compression == b"raw ":
        return SampleFormat(kind="uint", width=1)
    if compression.lower() in (b"ulaw", b"alaw"):
        return SampleFormat(kind="ulaw" if compression.lower() == b"ulaw" else "alaw", width=1)
    raise UnsupportedFormatError(f"AIFF-C compression {compression!r} is not read here", compression=repr(compression))


def _extended(data: bytes) -> int:
    """Return an 80-bit IEEE 754 extended number, rounded."""
    head, mantissa = struct.unpack(">HQ", data)
    exponent = head & 0x7FFF
    if exponent == _INFINITE:
        raise NonFiniteError("The header's sample rate is no number")
    if head & 0x8000:
        corrupt("the header claims a negative sample rate")
    shift = exponent - 16383 - 63
    if shift > 0:
        return 1 << 62  # far beyond any rate; not worth the exact power
    rate: int = mantissa + (1 << -shift >> 1) >> -shift
    return rate
