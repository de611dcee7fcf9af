"""Another sample rate for a stream of blocks, by soxr, without delay."""

from typing import Literal, TypeAlias

import numpy as np

from musproj.processors._formats.decoder import Block

Quality: TypeAlias = Literal["MQ", "HQ", "VHQ"]


def resampled_frames(frames: int, rate_in: int, rate_out: int) -> int:
    """Return how many frames there are at another rate; what is not nothing does not become nothing."""
    return max(1, round(frames * rate_out / rate_in)) if frames else 0


class Resampler:
    """Takes blocks at one rate and gives blocks at another; equal rates pass through unchanged."""

    def __init__(self, rate_in: int, rate_out: int, channels: int, quality: Quality = "HQ") -> None:
        """Convert from `rate_in` to `rate_out`, Hz."""
        import soxr

        self._rates = rate_in, rate_out
        self._stream = (
            None if rate_in == rate_out else soxr.ResampleStream(rate_in, rate_out, channels, "float32", quality)
        )
        self._channels = channels
        self._taken = self._given = 0

    def feed(self, block: Block) -> Block:
        """Return what is ready, float32 (frames, channels), of any length; the array is the caller's."""
        self._taken += len(block)
        if self._stream is None:
            return block.copy()
        ready: Block = self._stream.resample_chunk(np.ascontiguousarray(block))
        self._given += len(ready)
        return ready

    def finish(self) -> Block:
        """Return the rest, so that the whole is as long as `resampled_frames` says."""
        empty = np.zeros((0, self._channels), np.float32)
        if self._stream is None:
            return empty
        # An end that is only told by a short block would never come where the length is a multiple of the block.
        rest: Block = self._stream.resample_chunk(empty, last=True)
        missing = resampled_frames(self._taken, *self._rates) - self._given
        return np.concatenate([rest, np.zeros((max(0, missing - len(rest)), self._channels), np.float32)])[:missing]
