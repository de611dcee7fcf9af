"""WAV, and RF64 where it outgrows 4 GiB, without a library; the sizes are written when they are known.

Layout: Microsoft RIFF (mmreg.h); EBU Tech 3306, whose JUNK chunk turns into ds64 at the end.
"""

import errno
import struct

import numpy as np

from musproj.errors import EncodeUnsupportedError, LimitExceededError, StorageFullError, UnsupportedFormatError
from musproj.processors._formats.decoder import Block
from musproj.processors._formats.encoder import Target
from musproj.processors._formats.header import SPEAKERS
from musproj.processors._formats.quantize import Quantizer, check_finite
from musproj.processors._formats.tags import Tags

_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32}
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_MAX_RIFF = 2**32 - 2**20
"""From here on RF64: 4 GiB less what any header may take."""
_SURELY_SMALL = 2**30
"""Files expected to stay below begin with the plain header that the simplest readers want."""
_MAX_CHANNELS = 65_535
_INFO = {
    "title": b"INAM",
    "artist": b"IART",
    "album": b"IPRD",
    "date": b"ICRD",
    "comment": b"ICMT",
    "track": b"ITRK",
}


class WavEncoder:
    """Writes integers or floats."""

    def __init__(self, target: Target) -> None:
        """Create the file.

        Raises:
            UnsupportedFormatError: no such subtype.
            EncodeUnsupportedError: too many channels.
        """
        subtype, channels = target.subtype or "PCM_24", target.channels
        if subtype not in _BITS:
            raise UnsupportedFormatError(f"WAV has no subtype {subtype!r} here; there are {', '.join(_BITS)}")
        if not 0 < channels <= _MAX_CHANNELS:
            raise EncodeUnsupportedError(f"WAV takes no {channels} channels", channels=channels)
        self._bits = _BITS[subtype]
        self._float = subtype == "FLOAT"
        self._quantizer = Quantizer(self._bits, target.dither_seed)
        self._frame_bytes = channels * self._bits // 8
        self._fmt = _format_chunk(
            target.sample_rate, channels, self._bits, floats=self._float, speakers=target.speakers
        )
        self._is_rf64 = target.suffix == ".rf64"
        self._growing = self._is_rf64 or target.frames is None or target.frames * self._frame_bytes > _SURELY_SMALL
        self._tail = _info_chunk(target.tags)
        self.frames = 0
        self._path = target.path
        self._file = self._path.open("wb")
        self._put(self._head())

    @property
    def clipped_samples(self) -> int:
        """Samples that did not fit the integers."""
        return self._quantizer.clipped

    def write(self, block: Block) -> None:
        """Append `block`."""
        if self._float and block.dtype.kind == "i":
            self._put((block / -float(np.iinfo(block.dtype).min)).astype("<f4").data)
        elif self._float:
            check_finite(block)
            self._put(np.ascontiguousarray(block, "<f4").data)
        else:
            self._put(_packed(self._quantizer(block), self._bits))
        self.frames += len(block)

    def close(self) -> None:
        """Write the sizes and close.

        Raises:
            LimitExceededError: the file outgrew 4 GiB though it was expected to stay below 1.
        """
        size = self.frames * self._frame_bytes
        if not self._growing and size > _MAX_RIFF:
            self.abort()
            raise LimitExceededError("The WAV outgrew 4 GiB", limit="outputBytes", value=size, max=_MAX_RIFF)
        try:
            self._put(b"\0" * (size & 1) + self._tail)
            self._file.seek(0)
            self._put(self._head())
        finally:
            self._file.close()

    def abort(self) -> None:
        """Remove the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _put(self, data: bytes | memoryview) -> None:
        try:
            self._file.write(data)
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFullError(f"The disk is full; {self._path.name} was not finished") from exc
            raise

    def _head(self) -> bytes:
        """Return everything before the samples, for the frames written so far."""
        size = self.frames * self._frame_bytes
        reserved = 36 if self._growing else 0
        fact = struct.pack("<4sII", b"fact", 4, min(self.frames, 0xFFFF_FFFF)) if self._float else b""
        riff_size = 4 + reserved + len(self._fmt) + len(fact) + 8 + size + (size & 1) + len(self._tail)
        large = self._is_rf64 or size > _MAX_RIFF
        if large:
            spare = struct.pack("<4sIQQQI", b"ds64", 28, riff_size, size, self.frames, 0)
        else:
            spare = struct.pack("<4sI28x", b"JUNK", 28)[:reserved]
        magic, riff_field, data_field = (b"RF64", 2**32 - 1, 2**32 - 1) if large else (b"RIFF", riff_size, size)
        return b"".join(
            (
                struct.pack("<4sI4s", magic, riff_field, b"WAVE"),
                spare,
                self._fmt,
                fact,
                struct.pack("<4sI", b"data", data_field),
            )
        )


def _format_chunk(
    sample_rate: int, channels: int, bits: int, *, floats: bool, speakers: tuple[str, ...] | None
) -> bytes:
    """Return the `fmt ` chunk: extended for more than two channels, whose places must be told."""
    tag = _FLOAT if floats else _PCM
    align = channels * bits // 8
    shape = struct.pack("<HIIHH", channels, sample_rate, sample_rate * align, align, bits)
    if channels > 2:
        mask = sum(1 << SPEAKERS.index(name) for name in speakers or () if name in SPEAKERS)
        body = struct.pack("<H", _EXTENSIBLE) + shape + struct.pack("<HHIH", 22, bits, mask, tag) + _SUBFORMAT_TAIL
    else:
        body = struct.pack("<H", tag) + shape
    return struct.pack("<4sI", b"fmt ", len(body)) + body


def _info_chunk(tags: Tags) -> bytes:
    """Return the LIST chunk of the texts, in UTF-8 as FFmpeg and libsndfile write them; nothing where there are none."""
    body = b"INFO"
    for name, text in tags.fields.items():
        value = text.encode() + b"\0"
        body += struct.pack("<4sI", _INFO[name], len(value)) + value + b"\0" * (len(value) & 1)
    return struct.pack("<4sI", b"LIST", len(body)) + body if tags.fields else b""


def _packed(samples: "np.ndarray[tuple[int, ...], np.dtype[np.int32]]", bits: int) -> bytes | memoryview:
    """Return little-endian integers of `bits` bits."""
    if bits == 16:
        return samples.astype("<i2").tobytes()
    whole = np.ascontiguousarray(samples, "<i4")
    if bits == 32:
        return whole.tobytes()
    return whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
