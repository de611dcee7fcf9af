"""Long signals in overlapping segments, each worked on alone, faded from one into the next."""

from collections.abc import Callable, Iterator

import numpy as np

from musproj.processors._formats.decoder import Planar


class Segmented:
    """Applies a function to segments of a signal and gives a signal of the same length."""

    def __init__(self, work: Callable[[Planar], Planar], channels: int, frames: int, overlap: int) -> None:
        """Work on `frames` at a time, of which `overlap` belong to the next segment, too."""
        self._work = work
        self._frames, self._overlap = frames, overlap
        # What is left at the end must be enough for a segment of its own, so half of one more is waited for.
        self._pending: Planar = np.zeros((channels, frames + frames // 2 + 1), np.float32)
        self._filled = 0
        self._fading: Planar | None = None
        self._rising = ((np.arange(overlap) + 0.5) / overlap).astype(np.float32)

    def feed(self, samples: Planar) -> Iterator[tuple[Planar, Planar]]:
        """Take (channels, frames) more; yield the input that is done with what became of it, until the next step."""
        while samples.shape[1]:
            part = samples[:, : self._pending.shape[1] - self._filled]
            self._pending[:, self._filled : self._filled + part.shape[1]] = part
            self._filled += part.shape[1]
            samples = samples[:, part.shape[1] :]
            if self._filled == self._pending.shape[1]:
                yield from self._take(self._frames)

    def finish(self) -> Iterator[tuple[Planar, Planar]]:
        """Yield the rest, in two equal segments where it is longer than one."""
        if self._filled > self._frames:
            yield from self._take((self._filled + self._overlap + 1) // 2)
        if self._filled:
            rest = self._pending[:, : self._filled]
            yield rest, self._faded_in(self._work(rest))

    def _take(self, frames: int) -> Iterator[tuple[Planar, Planar]]:
        worked = self._faded_in(self._work(self._pending[:, :frames]))
        done = frames - self._overlap
        self._fading = worked[:, done:].copy()
        yield self._pending[:, :done], worked[:, :done]
        left = self._filled - done
        self._pending[:, :left] = self._pending[:, done : self._filled].copy()
        self._filled = left

    def _faded_in(self, worked: Planar) -> Planar:
        if self._fading is not None:
            start = worked[:, : self._overlap]
            start *= self._rising
            start += self._fading * (1 - self._rising)
        return worked
