"""A true-peak meter that shares nothing with the limiter's: soxr at its best quality, eightfold.

A limiter measured by its own filter always looks right. Where the level stays far from the ceiling no
meter's opinion matters, so only stretches near it are resampled.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from musproj.processors._dsp.truepeak import GROUP, PeakMeter, group_peaks, quick_interpolator, windows
from musproj.processors._formats.decoder import Planar

METER_NAME = "soxr-vhq8x"

_FACTOR = 8
_MAX_RATE = 768_000
_NEAR = 10 ** (-1.0 / 20)
"""Within 1 dB of the ceiling by the quick meter; the two never differed by more than 0.5 dB."""
_CONTEXT = 16 * GROUP
"""Samples on both sides of a stretch; soxr's longest filter reaches about 130."""


class StrictPeakMeter:
    """Measures planar blocks; by soxr near the ceiling, by the quick meter where nothing comes near."""

    def __init__(self, sample_rate: int, channels: int, ceiling_db: float) -> None:
        """Look closely at what comes within 1 dB of `ceiling_db`."""
        self._rate = sample_rate
        self._factor = max(1, min(_FACTOR, _MAX_RATE // sample_rate))
        self._threshold = 10 ** (ceiling_db / 20) * _NEAR
        self._interpolate = quick_interpolator(sample_rate)
        self._quick = PeakMeter(sample_rate, channels)
        self._pending = np.zeros((channels, _CONTEXT), np.float32)
        self._strict = 0.0

    @property
    def peak(self) -> float:
        """Largest magnitude found."""
        return self._strict or self._quick.true_peak

    def feed(self, planar: Planar) -> None:
        """Measure (channels, frames) more."""
        self._quick.feed(planar)
        samples = np.concatenate([self._pending, planar], axis=1)
        groups = max(0, (samples.shape[1] - 2 * _CONTEXT) // GROUP)
        if groups and self._factor > 1:
            for first, last in _stretches(self._near_ceiling(samples, groups)):
                self._measure(samples[:, first * GROUP : last * GROUP + 2 * _CONTEXT])
        self._pending = samples[:, groups * GROUP :].copy()

    def finish(self) -> None:
        """Measure what is left, and what rings behind the last sample."""
        self.feed(np.zeros((len(self._pending), 2 * _CONTEXT + GROUP), np.float32))
        self._quick.finish()

    def _near_ceiling(self, samples: Planar, groups: int) -> NDArray[np.intp]:
        """Return the groups that the quick meter sees near the ceiling, in any channel."""
        body = samples[:, _CONTEXT : _CONTEXT + groups * GROUP]
        around = group_peaks(np.abs(samples[:, _CONTEXT - GROUP : _CONTEXT + (groups + 1) * GROUP]))
        near = group_peaks(np.abs(body)) > self._threshold
        if self._interpolate is not None:
            bound = np.maximum(np.maximum(around[:, :-2], around[:, 1:-1]), around[:, 2:]) * self._interpolate.gain
            first = _CONTEXT - self._interpolate.taps // 2 + 1
            for channel, limits, found in zip(samples, bound, near, strict=True):
                hopeful = np.flatnonzero((limits > self._threshold) & ~found)
                if len(hopeful):
                    rows = windows(channel[first:], groups, self._interpolate.span)[hopeful]
                    found[hopeful] = self._interpolate.peaks(rows).max(axis=1) > self._threshold
        return np.flatnonzero(near.any(axis=0))

    def _measure(self, samples: Planar) -> None:
        """Measure a stretch between its contexts."""
        import soxr

        dense = soxr.resample(np.ascontiguousarray(samples.T), self._rate, self._rate * self._factor, "VHQ")
        inner = dense[(_CONTEXT - 1) * self._factor : len(dense) - (_CONTEXT - 1) * self._factor]
        self._strict = max(self._strict, float(inner.max()), -float(inner.min()))


def _stretches(groups: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield (first, behind the last) of runs of groups, joined where their contexts would overlap."""
    if not len(groups):
        return
    breaks = np.flatnonzero(np.diff(groups) * GROUP > 2 * _CONTEXT)
    starts = groups[np.concatenate([[0], breaks + 1])]
    ends = groups[np.concatenate([breaks, [len(groups) - 1]])]
    yield from zip(starts.tolist(), (ends + 1).tolist(), strict=True)
