"""Turns floats into the integers that are written, and refuses what is no number."""

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musproj.errors import OutputInvalidError
from musproj.ports.processor import InputFile
from musproj.processors._formats.decoder import Block, Floats


def check_finite(block: Block) -> None:
    """Refuse a float block that holds NaN or infinity.

    Raises:
        OutputInvalidError: it does.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = block.dtype.kind == "f" and not np.isfinite(block.sum())
    if suspicious and not np.isfinite(block).all():
        raise OutputInvalidError("The processor made samples that are not finite")


class Quantizer:
    """Turns blocks into integers of `bits` bits, counting what is clipped.

    It scales by 2 ** (bits - 1), the inverse of reading, so that what was not changed comes back bit by bit;
    libsndfile scales by 2 ** (bits - 1) - 1, which moves the larger half of 16-bit values by one.
    """

    def __init__(self, bits: int, dither_seed: int | None = None) -> None:
        """Dither with noise of `dither_seed`, if one is given."""
        self._bits = bits
        self._random = None if dither_seed is None else np.random.default_rng(dither_seed)
        self.clipped = 0

    def __call__(self, block: Block) -> NDArray[np.int32]:
        """Return `block` as int32 within ±2 ** (bits - 1)."""
        if block.dtype == np.int16:
            return block.astype(np.int32) << 16 >> (32 - self._bits)
        if block.dtype == np.int32:
            return block >> (32 - self._bits)
        check_finite(block)
        if block.size and max(block.max(), -block.min()) > 1.0:
            self.clipped += int(np.count_nonzero(np.abs(block) > 1.0))
        top = 2.0 ** (self._bits - 1)
        wide: Any = np.float32 if self._bits <= 24 else np.float64  # 2 ** 31 - 1 is no float32
        scaled: Floats = block.astype(wide) * wide(top)
        if self._random is not None:
            scaled += self._random.random(scaled.shape, np.float32) - self._random.random(scaled.shape, np.float32)
        np.rint(scaled, out=scaled)
        np.clip(scaled, wide(-top), wide(top - 1), out=scaled)
        return scaled.astype(np.int32)


def dither_seed(source: InputFile, dither: str) -> int | None:
    """Return the seed of the noise that is added before rounding: the same for the same input; None for no noise."""
    return zlib.crc32(source.sha256.encode()) if dither == "tpdf" else None
