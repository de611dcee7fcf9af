"""Core Audio Format, what iOS recorders write: PCM is read here, its codecs by FFmpeg's libraries.

Layout: Apple, Core Audio Format Specification 1.0. A live recording leaves the data size at -1.
"""

import math
import struct
from collections.abc import Iterator
from typing import BinaryIO

import attrs

from musproj.errors import NonFiniteError
from musproj.processors._formats.header import (
    MAX_CHUNKS,
    Extent,
    Header,
    SampleFormat,
    checked_shape,
    corrupt,
    pcm_header,
    pcm_width,
    read_exactly,
)

_DESCRIPTION = struct.Struct(">d4sIIIII")
_EDIT_COUNT_BYTES = 4
_FLOAT_FLAG, _LITTLE_FLAG = 1, 2
_CODECS = {b"aac ": "aac", b"alac": "alac", b"opus": "opus", b"ulaw": "pcm_ulaw", b"alaw": "pcm_alaw"}


@attrs.define
class _Walk:
    description: bytes | None = None
    data: Extent | None = None
    packet_frames: int | None = None
    priming: int = 0


def parse(file: BinaryIO, size: int) -> Header:
    """Return the header of the CAF file `file` of `size` bytes; its `region` is None where a codec is needed.

    Raises:
        AudioCorruptError: chunks missing, doubled or cut.
        NonFiniteError: the sample rate is no number.
        UnsupportedFormatError: PCM of fewer than 8 bits.
    """
    read_exactly(file, 8)
    walk = _Walk()
    for name, start, length in _chunks(file, size):
        file.seek(start)
        if name == b"desc" and walk.description is None:
            walk.description = read_exactly(file, _DESCRIPTION.size)
        elif name == b"pakt":
            walk.packet_frames, walk.priming = struct.unpack(">8xqi", read_exactly(file, 20))
        elif name == b"data":
            if walk.data is not None:
                corrupt("it has two data chunks")
            first = start + _EDIT_COUNT_BYTES
            claimed = None if length < 0 else max(0, length - _EDIT_COUNT_BYTES)
            walk.data = Extent(first, claimed, max(0, size - first))
    if walk.description is None:
        corrupt("there is no description chunk")
    if walk.data is None:
        corrupt("there is no data chunk")
    header = _header(walk.description, walk.data, walk.packet_frames)
    return attrs.evolve(header, priming=max(0, walk.priming))


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    at = 8
    for _ in range(MAX_CHUNKS):
        if at + 12 > size:
            return
        file.seek(at)
        name, length = struct.unpack(">4sq", file.read(12))
        yield name, at + 12, length
        if length < 0:
            if name != b"data":
                corrupt(f"the {name!r} chunk has a negative size")
            return
        at += 12 + length
    corrupt(f"it has more than {MAX_CHUNKS} chunks")


def _header(description: bytes, data: Extent, packet_frames: int | None) -> Header:
    rate, codec, flags, _, _, channels, bits = _DESCRIPTION.unpack(description)
    if not math.isfinite(rate):
        raise NonFiniteError("The header's sample rate is no number")
    rate = round(min(max(rate, -1.0), 2.0**40))
    checked_shape(rate, channels)
    if codec in (b"lpcm", b"ulaw", b"alaw"):
        sample = _sample(codec, flags, bits)
        return pcm_header(
            container="caf", sample=sample, sample_rate=rate, channels=channels, bits=bits or 8, extent=data
        )
    frames = packet_frames if packet_frames is not None and packet_frames >= 0 else None
    return Header(
        container="caf",
        codec=_CODECS.get(codec, codec.decode("ascii", "replace").strip()),
        sample_rate=rate,
        channels=channels,
        bits=bits or None,
        frames=frames,
        claimed_frames=frames,
    )


def _sample(codec: bytes, flags: int, bits: int) -> SampleFormat:
    if codec != b"lpcm":
        return SampleFormat(kind="ulaw" if codec == b"ulaw" else "alaw", width=1)
    big_endian = not flags & _LITTLE_FLAG
    if flags & _FLOAT_FLAG:
        if bits not in (32, 64):
            corrupt(f"the header claims floats of {bits} bits")
        return SampleFormat(kind="float", width=bits // 8, big_endian=big_endian)
    return SampleFormat(kind="int", width=pcm_width(bits), big_endian=big_endian)
