"""Minimum and maximum of groups of frames, as 16-bit integers, and the coarser levels that follow from them."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from musproj.processors._formats.decoder import Block

Pairs = NDArray[np.int16]
"""int16 (pairs, channels, 2): minimum and maximum."""

_CHUNK_PAIRS = 1 << 16


def pairs_of(block: Block, samples_per_pixel: int, *, mix: bool) -> Pairs:
    """Return the pairs of (frames, channels), int16 or float32; frames left over at the end make one of their own."""
    planar = np.ascontiguousarray(_mixed(block).T if mix else block.T)
    whole = planar.shape[1] // samples_per_pixel
    parts = [_folded(planar[:, : whole * samples_per_pixel].reshape(len(planar), whole, samples_per_pixel))]
    if whole * samples_per_pixel < planar.shape[1]:
        parts.append(_folded(planar[:, None, whole * samples_per_pixel :]))
    return _as_int16(np.concatenate(parts, axis=1)).transpose(1, 0, 2)


def as_bytes(pairs: Pairs, bits: int) -> bytes:
    """Return pairs as they lie in the file; 8 bits are the upper ones, rounded towards zero as audiowaveform does."""
    if bits == 8:
        return (((pairs + ((pairs >> 15) & 255)) >> 8).astype(np.int8)).tobytes()
    return pairs.astype("<i2", copy=False).tobytes()


class PeakFile:
    """A level's pairs on disk: appended in a `with` block, then read from the start as often as wanted."""

    def __init__(self, path: Path, channels: int) -> None:
        """Create `path`."""
        self._path = path
        self._channels = channels
        self._sink = path.open("wb")
        self.pairs = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink.close()

    def append(self, pairs: Pairs) -> None:
        """Add pairs at the end."""
        self._sink.write(np.ascontiguousarray(pairs, "<i2").tobytes())
        self.pairs += len(pairs)

    def chunks(self) -> Iterator[Pairs]:
        """Yield all pairs, an even number at a time but for the last."""
        size = _CHUNK_PAIRS * self._channels * 4
        with self._path.open("rb") as source:
            while data := source.read(size):
                yield np.frombuffer(data, "<i2").reshape(-1, self._channels, 2)

    def halved(self, path: Path) -> "PeakFile":
        """Return the next coarser level: minimum and maximum of two pairs each, which is exact."""
        with PeakFile(path, self._channels) as coarser:
            for pairs in self.chunks():
                # A last one stands alone.
                even = np.concatenate([pairs, pairs[-1:]]) if len(pairs) % 2 else pairs
                twos = even.reshape(-1, 2, self._channels, 2)
                coarser.append(np.stack([twos[..., 0].min(axis=1), twos[..., 1].max(axis=1)], axis=-1))
        return coarser


def _folded(groups: NDArray[Any]) -> NDArray[Any]:
    """Return (channels, groups, 2) of (channels, groups, frames).

    Halves are compared with each other while they are even: long runs are what numpy is fast at.
    """
    low = high = groups
    while low.shape[2] % 2 == 0 and low.shape[2] > 1:
        half = low.shape[2] // 2
        low, high = np.minimum(low[..., :half], low[..., half:]), np.maximum(high[..., :half], high[..., half:])
    if low.shape[2] == 1:
        return np.concatenate([low, high], axis=2)
    return np.stack([low.min(axis=2), high.max(axis=2)], axis=2)


def _mixed(block: Block) -> Block:
    if block.dtype == np.int16:
        total: NDArray[np.int32] = block.sum(axis=1, dtype=np.int32, keepdims=True)
        rounded: NDArray[np.int16] = np.trunc(total / block.shape[1]).astype(np.int16)
        return rounded
    mean: NDArray[np.float32] = block.mean(axis=1, keepdims=True, dtype=np.float32)
    return mean


def _as_int16(values: NDArray[Any]) -> NDArray[np.int16]:
    if values.dtype == np.int16:
        return values
    scaled: NDArray[np.int16] = np.clip(np.rint(values * 32_768), -32_768, 32_767).astype(np.int16)
    return scaled
