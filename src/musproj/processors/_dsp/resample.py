"""Another sample rate for a stream of blocks, by soxr, without delay."""

from typing import Literal, TypeAlias

import numpy as np

from musproj.processors._formats.decoder import Block

Quality: TypeAlias = Literal["MQ", "HQ", "VHQ"]


class Resampler:
    """Takes blocks at one rate and gives blocks at another; equal rates pass through unchanged."""

    def __init__(self, rate_in: int, rate_out: int, channels: int, quality: Quality = "HQ") -> None:
        """Convert from `rate_in` to `rate_out`, Hz."""
        import soxr

        self._ratio = rate_out / rate_in
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
        """Return the rest, so that the whole is `round(frames x out / in)` long."""
        empty = np.zeros((0, self._channels), np.float32)
        if self._stream is None:
            return empty
        # An end that is only told by a short block would never come where the length is a multiple of the block.
        rest: Block = self._stream.resample_chunk(empty, last=True)
        missing = round(self._taken * self._ratio) - self._given
        return np.concatenate([rest, np.zeros((max(0, missing - len(rest)), self._channels), np.float32)])[:missing]
