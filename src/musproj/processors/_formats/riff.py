"""The WAV family: RIFF, RIFX, RF64 and BW64, read by a bounded walk over its chunks.

libsndfile's own parser is not asked: it opens a recorder's stream (data size 0) as empty without a word,
refuses BW64, and shows 7-bit files as audio.
Layout: Microsoft RIFF (mmreg.h), EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64).
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, Literal

import attrs

from musproj.errors import UnsupportedFormatError
from musproj.processors._formats.header import (
    MANY_CHUNKS,
    MAX_CHUNK_BYTES,
    MAX_CHUNKS,
    SPEAKERS,
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

_UNKNOWN = 0xFFFF_FFFF
_PCM, _FLOAT, _ALAW, _ULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # KSDATAFORMAT_SUBTYPE_*, after the format tag
_FMT_BYTES, _EXTENSIBLE_BYTES, _EXTENSION_BYTES = 16, 40, 22
_MAX_WIDTH = 4
_AFTER_DATA = frozenset(
    (
        b"LIST",
        b"fact",
        b"cue ",
        b"smpl",
        b"id3 ",
        b"ID3 ",
        b"bext",
        b"iXML",
        b"JUNK",
        b"PEAK",
        b"inst",
        b"axml",
        b"chna",
    )
)


@attrs.frozen
class _Chunk:
    name: bytes
    start: int
    size: int


@attrs.define
class _Walk:
    """What the walk has met so far."""

    fmt: bytes | None = None
    data: Extent | None = None
    data_claim: int = 0
    big_sizes: tuple[int, int] | None = None
    """RIFF and data size of the `ds64` chunk."""
    notes: list[Note] = attrs.field(factory=list[Note])

    def inconsistent(self, message: str) -> None:
        if all(note.code != "headerInconsistent" for note in self.notes):
            self.notes.append(Note("headerInconsistent", message))


@attrs.frozen
class _Format:
    sample: SampleFormat
    sample_rate: int
    channels: int
    bits: int
    speakers: tuple[str, ...] | None
    consistent: bool


def parse(file: BinaryIO, size: int) -> Header:
    """Return the header of the WAV file `file` of `size` bytes.

    Raises:
        AudioCorruptError: chunks missing, doubled or cut.
        UnsupportedFormatError: a codec that is not read here.
    """
    magic = read_exactly(file, 12)[:4]
    file.seek(4)
    order: Literal["<", ">"] = ">" if magic == b"RIFX" else "<"
    (riff_size,) = struct.unpack(order + "I", file.read(4))
    walk = _walk(file, size, order, large=magic in (b"RF64", b"BW64"))
    if walk.fmt is None:
        corrupt("there is no format chunk")
    if walk.data is None:
        corrupt("there is no data chunk")
    if walk.big_sizes is not None:
        riff_size = walk.big_sizes[0]
    if walk.data.claimed is not None and riff_size + 8 < walk.data.offset + walk.data.size:
        walk.inconsistent(f"The RIFF size of {riff_size} bytes ends before the samples do.")
    form = _format(walk.fmt, order)
    if not form.consistent:
        walk.inconsistent("The block size disagrees with channels and bits; the bits are believed.")
    return pcm_header(
        container="wav",
        sample=form.sample,
        sample_rate=form.sample_rate,
        channels=form.channels,
        bits=form.bits,
        extent=walk.data,
        speakers=form.speakers,
        notes=tuple(walk.notes),
    )


def _walk(file: BinaryIO, size: int, order: str, *, large: bool) -> _Walk:
    walk = _Walk()
    for count, chunk in enumerate(_chunks(file, size, order, walk), 1):
        if count > MAX_CHUNKS:
            corrupt(f"it has more than {MAX_CHUNKS} chunks")
        if count == MANY_CHUNKS:
            walk.inconsistent(f"The file has more than {MANY_CHUNKS} chunks.")
        if chunk.name == b"fmt " and walk.fmt is None:
            walk.fmt = _body(file, chunk, size)
        elif chunk.name == b"ds64" and walk.big_sizes is None:
            walk.big_sizes = struct.unpack_from("<QQ", _body(file, chunk, size).ljust(16, b"\0"))
        elif chunk.name == b"data":
            _take_data(walk, chunk, file, size, large=large)
    return walk


def _chunks(file: BinaryIO, size: int, order: str, walk: _Walk) -> Iterator[_Chunk]:
    """Walk from chunk to chunk; ends at the first thing behind the samples that is none."""
    at = 12
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack(order + "4sI", file.read(8))
        if not all(0x20 <= letter < 0x7F for letter in name):
            if walk.data is None:
                corrupt("a chunk has no name")
            break
        yield _Chunk(name, at + 8, length)
        if name == b"data" and walk.data is not None:
            length = walk.data.size
        at += 8 + length + (length & 1)
    if walk.data is not None and at < size:
        walk.notes.append(Note("trailingData", "Bytes behind the last chunk were ignored.", {"bytes": size - at}))


def _body(file: BinaryIO, chunk: _Chunk, size: int) -> bytes:
    if chunk.start + chunk.size > size:
        corrupt(f"the {chunk.name.decode()!r} chunk claims {chunk.size} bytes")
    file.seek(chunk.start)
    return read_exactly(file, min(chunk.size, MAX_CHUNK_BYTES))


def _take_data(walk: _Walk, chunk: _Chunk, file: BinaryIO, size: int, *, large: bool) -> None:
    if walk.data is not None:
        corrupt("it has two data chunks")
    if walk.fmt is None:
        walk.inconsistent("The samples stand before their format.")
    claimed: int | None = chunk.size
    if large and claimed == _UNKNOWN:
        if walk.big_sizes is None:
            corrupt("RF64 without its ds64 chunk")
        claimed = walk.big_sizes[1]
    elif claimed == _UNKNOWN or (claimed == 0 and _is_stream(file, chunk.start, size)):
        claimed = None  # a recorder or a pipe that never came back to write the size
    walk.data = Extent(chunk.start, claimed, max(0, size - chunk.start))


def _is_stream(file: BinaryIO, start: int, size: int) -> bool:
    """Tell samples behind a data size of 0 from the chunks that may follow an empty file."""
    if start >= size:
        return False
    file.seek(start)
    head = file.read(8)
    return not (head[:4] in _AFTER_DATA and start + 8 + int.from_bytes(head[4:], "little") <= size)


def _format(fmt: bytes, order: str) -> _Format:
    if len(fmt) < _FMT_BYTES:
        corrupt("the format chunk is too short")
    tag, channels, rate, _, align, bits = struct.unpack_from(order + "HHIIHH", fmt)
    speakers: tuple[str, ...] | None = None
    checked_shape(rate, channels)
    if tag == _EXTENSIBLE:
        tag, speakers = _extension(fmt, order, channels)
    kind, width = _sample(tag, bits)
    stored = align // channels if align % channels == 0 else 0
    padded = kind == "int" and width < stored <= _MAX_WIDTH
    return _Format(
        sample=SampleFormat(kind=kind, width=stored if padded else width, big_endian=order == ">"),
        sample_rate=rate,
        channels=channels,
        bits=bits,
        speakers=speakers,
        consistent=padded or stored == width,
    )


def _sample(tag: int, bits: int) -> tuple[Literal["int", "uint", "float", "ulaw", "alaw"], int]:
    if tag == _PCM:
        width = pcm_width(bits)
        return ("uint" if width == 1 else "int"), width
    if tag == _FLOAT:
        if bits not in (32, 64):
            corrupt(f"the header claims floats of {bits} bits")
        return "float", bits // 8
    if tag in (_ALAW, _ULAW):
        return ("alaw" if tag == _ALAW else "ulaw"), 1
    raise UnsupportedFormatError(
        f"WAV format tag {tag:#06x} is not read here; send PCM, float, A-law or µ-law", tag=tag
    )


def _extension(fmt: bytes, order: str, channels: int) -> tuple[int, tuple[str, ...] | None]:
    """Return the real format tag and the speakers of a WAVEFORMATEXTENSIBLE."""
    extension = struct.unpack_from(order + "H", fmt.ljust(18, b"\0"), 16)[0]
    if len(fmt) < _EXTENSIBLE_BYTES or extension < _EXTENSION_BYTES or fmt[26:40] != _SUBFORMAT_TAIL:
        raise UnsupportedFormatError("The WAV's extended format names no known codec")
    mask, tag = struct.unpack_from(order + "IH", fmt, 20)
    names = tuple(name for bit, name in enumerate(SPEAKERS) if mask >> bit & 1)
    return tag, names if len(names) == channels else None
