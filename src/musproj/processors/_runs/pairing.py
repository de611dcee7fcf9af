"""Two files as one stream: the second at the rate and in the channels of the first, in step with it."""

from collections.abc import Iterable, Iterator

import numpy as np

from musproj.errors import InvalidParamsError, Violation
from musproj.processors._dsp.resample import Resampler
from musproj.processors._formats.decoder import Block
from musproj.processors.blocks import BLOCK_FRAMES, BlockReader


def check_channels(one: BlockReader, other: BlockReader) -> None:
    """Refuse channels that do not go together.

    Raises:
        InvalidParamsError: they differ, and the second file is not mono.
    """
    if other.channels not in (1, one.channels):
        detail = f"has {other.channels} channels; it must be mono or have {one.channels} as `input` has"
        raise InvalidParamsError(violations=(Violation("/inputs/other", "invalid", detail),))


def fitted(blocks_of_other: Iterable[Block], other: BlockReader, one: BlockReader) -> Iterator[Block]:
    """Yield the blocks of `other` at the rate of `one` and in its channels; each is the receiver's own."""
    resampler = Resampler(other.sample_rate, one.sample_rate, other.channels)
    for block in blocks_of_other:
        yield _spread(resampler.feed(block), one.channels)
    yield _spread(resampler.finish(), one.channels)


def owned(source: BlockReader) -> Iterator[Block]:
    """Yield the blocks of `source`, each the receiver's own."""
    for _, block in source:
        yield block.copy()


def delayed(signal: Iterable[Block], frames: int, channels: int) -> Iterator[Block]:
    """Yield so many frames of silence, then `signal`."""
    while frames > 0:
        part = min(frames, BLOCK_FRAMES)
        yield np.zeros((part, channels), np.float32)
        frames -= part
    yield from signal


def in_step(
    one: Iterable[Block], other: Iterable[Block], channels: int, *, beyond: int | None = None
) -> Iterator[tuple[Block, Block]]:
    """Yield both in blocks of equal length until both have ended; the shorter one goes on as silence.

    With `beyond` it goes on for no more than so many frames.
    """
    first, second = _Source(one, channels), _Source(other, channels)
    alone = 0
    while True:
        there = first.has(BLOCK_FRAMES), second.has(BLOCK_FRAMES)
        frames, shared = max(there), min(there)
        if beyond is not None:
            frames = min(frames, shared + beyond - alone)
        alone += frames - shared
        if not frames:
            return
        yield first.take(frames), second.take(frames)


class _Source:
    """Blocks of any length, to be taken in other lengths."""

    def __init__(self, signal: Iterable[Block], channels: int) -> None:
        self._signal = iter(signal)
        self._pending: Block = np.zeros((0, channels), np.float32)

    def has(self, frames: int) -> int:
        """Return how many frames are there, at most `frames`; fewer only at the end."""
        while len(self._pending) < frames:
            block = next(self._signal, None)
            if block is None:
                break
            self._pending = np.concatenate([self._pending, block]) if len(self._pending) else block
        return min(frames, len(self._pending))

    def take(self, frames: int) -> Block:
        """Return so many frames; what is missing is silence."""
        found, self._pending = self._pending[:frames], self._pending[frames:]
        if len(found) < frames:
            found = np.pad(found, ((0, frames - len(found)), (0, 0)))
        return found


def _spread(block: Block, channels: int) -> Block:
    return np.repeat(block, channels, axis=1) if block.shape[1] != channels else block
