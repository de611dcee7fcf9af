"""Long signals in overlapping segments, each worked on alone, faded from one into the next."""

from collections.abc import Callable, Iterator

import numpy as np

from musproj.processors._decoder import Planar


class Segmented:
    """Applies a function to segments of a signal and gives a signal of the same length."""

    def __init__(self, work: Callable[[Planar], Planar], channels: int, frames: int, overlap: int) -> None:
        """Work on `frames` at a time, of which `overlap` belong to the next segment, too."""
        self._work = work
        self._frames, self._overlap = frames, overlap
        self._pending: Planar = np.zeros((channels, 0), np.float32)
        self._fading: Planar | None = None
        self._rising = ((np.arange(overlap) + 0.5) / overlap).astype(np.float32)

    def feed(self, samples: Planar) -> Iterator[tuple[Planar, Planar]]:
        """Take (channels, frames) more; yield the input that is done with what became of it."""
        self._pending = np.concatenate([self._pending, samples], axis=1)
        # What is left at the end must be enough for a segment of its own.
        while self._pending.shape[1] > self._frames + self._frames // 2:
            yield self._take(self._frames)

    def finish(self) -> Iterator[tuple[Planar, Planar]]:
        """Yield the rest, in two equal segments where it is longer than one."""
        left = self._pending.shape[1]
        if left > self._frames:
            yield self._take((left + self._overlap + 1) // 2)
        if self._pending.shape[1]:
            yield self._pending, self._faded_in(self._work(self._pending))

    def _take(self, frames: int) -> tuple[Planar, Planar]:
        worked = self._faded_in(self._work(self._pending[:, :frames]))
        done = frames - self._overlap
        self._fading = worked[:, done:].copy()
        taken, self._pending = self._pending[:, :done], self._pending[:, done:].copy()
        return taken, worked[:, :done]

    def _faded_in(self, worked: Planar) -> Planar:
        if self._fading is not None:
            start = worked[:, : self._overlap]
            start *= self._rising
            start += self._fading * (1 - self._rising)
        return worked
