"""PNG, as much of it as a drawing needs (W3C, Portable Network Graphics, third edition)."""

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"\x89PNG\r\n\x1a\n"
_BITS, _RGBA = 8, 6
_LEVEL = 9


def write(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write uint8 (height, width, 4): red, green, blue and opacity."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, width * 4)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, _BITS, _RGBA, 0, 0, 0)
    data = zlib.compress(rows.tobytes(), _LEVEL)
    path.write_bytes(_MAGIC + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
