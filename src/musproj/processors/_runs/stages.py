"""What a signal passes on its way: each stage gives back as many samples as it took, sooner or later, in place."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from musproj.processors._dsp.biquads import SectionFilter, highpass
from musproj.processors._formats.decoder import Planar
from musproj.processors.blocks import BlockReader


class Stage(Protocol):
    """One step over planar blocks."""

    __slots__ = ()

    @abstractmethod
    def feed(self, samples: Planar) -> Planar:
        """Take (channels, frames) more; return what is ready, of any length."""

    @abstractmethod
    def finish(self) -> Planar:
        """Return the rest; in all as many frames as came."""


class HighPass(Stage):
    """A fourth-order Butterworth high-pass."""

    def __init__(self, source: BlockReader, hz: float) -> None:
        """Take what is below `hz` away from what has the shape of `source`."""
        self._sections = SectionFilter(highpass(source.sample_rate, hz), source.channels, np.float32)
        self._nothing = np.zeros((source.channels, 0), np.float32)

    def feed(self, samples: Planar) -> Planar:
        """Filter them."""
        return self._sections(samples).astype(np.float32, copy=False)

    def finish(self) -> Planar:
        """Hold nothing back."""
        return self._nothing


def passed(signal: Iterable[Planar], stages: Sequence[Stage]) -> Iterator[Planar]:
    """Yield `signal` behind all `stages`."""
    for stage in stages:
        signal = _through(signal, stage)
    yield from signal


def _through(signal: Iterable[Planar], stage: Stage) -> Iterator[Planar]:
    for samples in signal:
        ready = stage.feed(samples)
        if ready.shape[1]:
            yield ready
    rest = stage.finish()
    if rest.shape[1]:
        yield rest
