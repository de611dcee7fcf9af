"""Picks the encoder, and turns floats into the integers that it writes."""

from abc import abstractmethod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from musproj.errors import OutputInvalidError
from musproj.processors._decoder import Block, Floats


class Encoder(Protocol):
    """Writes one audio file from front to back."""

    __slots__ = ()

    @property
    @abstractmethod
    def frames(self) -> int:
        """Frames written."""

    @property
    @abstractmethod
    def clipped_samples(self) -> int:
        """Samples that did not fit the integers."""

    @abstractmethod
    def write(self, block: Block) -> None:
        """Append a block."""

    @abstractmethod
    def close(self) -> None:
        """Finish the file."""

    @abstractmethod
    def abort(self) -> None:
        """Remove the file."""


def open_encoder(
    path: Path,
    *,
    subtype: str | None,
    sample_rate: int,
    channels: int,
    frames: int | None,
    speakers: tuple[str, ...] | None,
    dither_seed: int | None,
) -> Encoder:
    """Return the encoder of the container that the extension of `path` names.

    Raises:
        EncodeUnsupportedError: the codec cannot take this rate or channel count.
        UnsupportedFormatError: no such container or subtype.
        MissingExtraError: the extra `audio` is needed.
    """
    if path.suffix.lower() == ".wav":
        from musproj.processors._encode_wav import WavEncoder

        return WavEncoder(
            path,
            subtype=subtype or "PCM_24",
            sample_rate=sample_rate,
            channels=channels,
            frames=frames,
            speakers=speakers,
            dither_seed=dither_seed,
        )
    from musproj.processors._encode_soundfile import SoundFileEncoder

    return SoundFileEncoder(path, subtype=subtype, sample_rate=sample_rate, channels=channels, dither_seed=dither_seed)


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
