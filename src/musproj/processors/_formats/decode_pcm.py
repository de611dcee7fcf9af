"""Uncompressed samples of any container, turned into numbers by numpy alone.

There is no codec here that could crash, nothing is allocated by a claimed size, and reading is faster than
through libsndfile, which converts sample by sample.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musproj.processors._formats.decoder import Block
from musproj.processors._formats.header import Header, PcmRegion, SampleFormat

_Bytes = NDArray[np.uint8]


class PcmDecoder:
    """Decodes the samples that a header parser has located."""

    claim_slack = 0

    def __init__(self, path: Path, header: Header, region: PcmRegion) -> None:
        """Open `path`; `header.frames` is already clamped to what the file holds."""
        self.header = header
        self._region = region
        self._frame_bytes = header.channels * region.sample.width
        self._left = self._frames = header.frames or 0
        self._raw = np.empty(0, np.uint8)
        self._file = path.open("rb", buffering=0)
        self._file.seek(region.offset)

    def read(self, out: Block) -> int:
        """Fill `out`; a file that shrinks meanwhile ends early."""
        wanted = min(len(out), self._left)
        size = wanted * self._frame_bytes
        if len(self._raw) < size:
            self._raw = np.empty(size, np.uint8)
        frames = self._fill(self._raw[:size]) // self._frame_bytes
        self._left -= frames
        if frames:
            _convert(self._raw[: frames * self._frame_bytes], self._region.sample, out[:frames].reshape(-1))
        return frames

    def seek(self, frame: int) -> bool:
        """Go to `frame`."""
        frame = min(frame, self._frames)
        self._file.seek(self._region.offset + frame * self._frame_bytes)
        self._left = self._frames - frame
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _fill(self, raw: _Bytes) -> int:
        view = raw.data
        got = 0
        while got < len(view):
            part = self._file.readinto(view[got:])
            if not part:
                break
            got += part
        return got


def _convert(raw: _Bytes, sample: SampleFormat, out: Block) -> None:
    """Write the samples of `raw` into the flat `out`, scaled as libsndfile does: by 2 ** -(bits - 1)."""
    if out.dtype != np.float32:
        _convert_to_integers(raw, sample, out)
    elif sample.kind == "float":
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 becomes infinite, which the reader counts
            out[:] = raw.view(_dtype(sample))
    elif sample.kind in ("ulaw", "alaw"):
        np.take(_law(sample).astype(np.float32) / np.float32(32768), raw, out=out)
    elif sample.width == 2:
        np.multiply(raw.view(_dtype(sample)), np.float32(2.0**-15), out=out)
    else:
        # numpy would go by way of float64, which is slower and rounds to the same
        np.multiply(_int32(raw, sample), np.float32(2.0**-31), out=out, dtype=np.float32, casting="unsafe")


def _convert_to_integers(raw: _Bytes, sample: SampleFormat, out: Block) -> None:
    if sample.kind in ("ulaw", "alaw"):
        wide = _law(sample)[raw] << 16
    elif sample.width == 2 and out.dtype == np.int16:
        out[:] = raw.view(_dtype(sample))
        return
    else:
        wide = _int32(raw, sample)
    out[:] = wide >> 16 if out.dtype == np.int16 else wide


def _int32(raw: _Bytes, sample: SampleFormat) -> NDArray[np.int32]:
    """Return integers of any width at the top of 32 bits."""
    if sample.kind == "uint":
        return (raw.astype(np.int32) - 128) << 24
    if sample.width == 4:
        return raw.view(_dtype(sample))
    padded = np.zeros((len(raw) // sample.width, 4), np.uint8)
    body = raw.reshape(-1, sample.width)
    if sample.big_endian:
        padded[:, : sample.width] = body
        return padded.view(">i4")[:, 0]
    padded[:, 4 - sample.width :] = body
    return padded.view("<i4")[:, 0]


def _dtype(sample: SampleFormat) -> Any:
    letter = "f" if sample.kind == "float" else "i"
    return np.dtype(f"{'>' if sample.big_endian else '<'}{letter}{sample.width}")


def _law(sample: SampleFormat) -> NDArray[Any]:
    """Return the 256 values of a companding law (ITU-T G.711), as 16-bit numbers in int32."""
    code = np.arange(256, dtype=np.int32)
    if sample.kind == "ulaw":
        code ^= 0xFF
        magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
        return np.where(code & 0x80, -magnitude, magnitude)
    code ^= 0x55
    segment = (code & 0x70) >> 4
    step = ((code & 0x0F) << 4) + np.where(segment == 0, 8, 0x108)
    magnitude = step << np.maximum(segment - 1, 0)
    return np.asarray(np.where(code & 0x80, magnitude, -magnitude))
