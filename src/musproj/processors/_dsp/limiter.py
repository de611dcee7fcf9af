"""A look-ahead true-peak limiter in stages, each of which streams.

    samples ─ sidechain: the gain that each sample needs ─ minimum over ± look-ahead ─ release ─ Hann mean ─ × samples

Why the ceiling holds: the smoothed gain at t is a mean of minima whose windows all contain t, so it is never
above the gain that t needs. The gain is one for all channels, so that the picture does not move, and it is
centred, so that nothing is delayed.

The sidechain looks at the signal as several meters would: between samples the answer depends on the filter, by up
to 0.5 dB where there is energy up to half the sample rate. With the largest of three of them a single pass keeps
the ceiling by libebur128's, FFmpeg's and soxr's meters alike.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from musproj.processors._dsp.truepeak import GROUP, Interpolator, group_peaks, kernels, oversampling, windows
from musproj.processors._formats.decoder import Floats, Planar

MARGIN_DB = 0.06
"""Aimed this much below the ceiling: with noise up to half the rate soxr read up to 0.046 dB more than the
sidechain, and another round costs more than what is given away."""

_STRICT_FROM = 10 ** (-1.0 / 20)
"""Within 1 dB of the ceiling the long filters decide; the short one was never off by more than 0.5 dB."""
_LEAD = 128
"""Frames of silence that are processed in front: a file may begin at full level, and rings before its start."""
_MEAN_ROWS = 128
_LIMITED = 10 ** (-0.01 / 20)


def _fast_interpolators(sample_rate: int) -> list[Interpolator]:
    """Return the short filters: 24 taps, and the 12 of BS.1770-5 annex 2's length with images, like libebur128's."""
    factor = oversampling(sample_rate)
    return (
        [] if factor == 1 else [Interpolator(kernels(12, factor, 8.0)[1:]), Interpolator(kernels(6, factor, 5.0)[1:])]
    )


def _strict_interpolators(sample_rate: int) -> list[Interpolator]:
    """Return a long full-band filter, and one that ends at 0.957 of half the rate like converters and soxr's VHQ."""
    factor = 2 * oversampling(sample_rate)
    return [Interpolator(kernels(48, factor, 8.0)[1:]), Interpolator(kernels(80, factor, 9.0, 0.957))]


class Sidechain:
    """Tells the gain that every sample needs, in whole groups of `GROUP`, `delay` frames late."""

    def __init__(self, sample_rate: int, channels: int, ceiling: float) -> None:
        """Keep what lies between samples below `ceiling`, a linear magnitude."""
        self._ceiling = ceiling
        self._fast = _fast_interpolators(sample_rate)
        self._strict = _strict_interpolators(sample_rate)
        self.delay = max(each.taps // 2 for each in self._strict)
        self._pending = np.zeros((channels, self.delay), np.float32)
        self._last_between = 0.0

    def feed(self, planar: Planar) -> Floats:
        """Return the gains (frames,) of the groups that are complete with what follows them."""
        samples = np.concatenate([self._pending, planar], axis=1)
        groups = max(0, (samples.shape[1] - 2 * self.delay) // GROUP)
        self._pending = samples[:, groups * GROUP :].copy()
        if not groups:
            return np.empty(0, np.float32)
        return self._gains(samples[:, : groups * GROUP + 2 * self.delay], groups)

    def _gains(self, samples: Planar, groups: int) -> Floats:
        inside = slice(self.delay, self.delay + groups * GROUP)
        at_samples = np.abs(samples[0, inside])
        for channel in samples[1:]:
            at_samples = np.maximum(at_samples, np.abs(channel[inside]))
        between = self._between(samples, at_samples, groups)
        before = np.concatenate([[np.float32(self._last_between)], between[:-1]])
        self._last_between = float(between[-1])
        level = np.maximum(np.maximum(between, before), at_samples)
        gains: Floats = np.float32(self._ceiling) / np.maximum(level, np.float32(1e-9))
        return np.minimum(np.float32(1), gains, out=gains)

    def _between(self, samples: Planar, at_samples: Floats, groups: int) -> Floats:
        """Return the largest interpolated magnitude between each sample and the next."""
        found = np.zeros((groups, GROUP), np.float32)
        own = group_peaks(at_samples[None])[0]
        near = np.maximum(_neighbourhood(own), _edge_level(samples, self.delay, groups))
        for interpolator in self._fast:
            self._interpolate(samples, np.flatnonzero(near * interpolator.gain > self._ceiling), interpolator, found)
        level = np.maximum(group_peaks(found.reshape(1, -1))[0], own) if self._fast else near
        strict = np.flatnonzero(level > self._ceiling * _STRICT_FROM)
        for interpolator in self._strict:
            self._interpolate(samples, strict, interpolator, found)
        return found.reshape(-1)

    def _interpolate(self, samples: Planar, which: NDArray[np.intp], interpolator: Interpolator, found: Floats) -> None:
        if not len(which):
            return
        first = self.delay - interpolator.taps // 2 + 1
        for channel in samples:
            rows = windows(channel[first:], len(found), interpolator.span)[which]
            found[which] = np.maximum(found[which], interpolator.peaks(rows))


def _neighbourhood(peaks: Floats) -> Floats:
    """Return for each group the largest peak of it and its neighbours."""
    near = peaks.copy()
    np.maximum(near[1:], peaks[:-1], out=near[1:])
    np.maximum(near[:-1], peaks[1:], out=near[:-1])
    return near


def _edge_level(samples: Planar, delay: int, groups: int) -> Floats:
    """Return what the first and the last group see beyond the block."""
    edge = np.zeros(groups, np.float32)
    edge[0] = np.abs(samples[:, delay - GROUP : delay]).max()
    after = delay + groups * GROUP
    edge[-1] = max(edge[-1], np.abs(samples[:, after : after + GROUP]).max())
    return edge


class SlidingMinimum:
    """Minimum over `reach` frames on both sides, `reach` frames late."""

    def __init__(self, reach: int) -> None:
        """Begin as if 1 had gone before."""
        self._window = 2 * reach + 1
        self._past = np.ones(reach, np.float32)

    def feed(self, gains: Floats) -> Floats:
        """Return the minima of the frames whose future is complete."""
        values = np.concatenate([self._past, gains])
        ready = len(values) - self._window + 1
        if ready <= 0:
            self._past = values
            return np.empty(0, np.float32)
        self._past = values[ready:].copy()
        if values.min() >= 1:
            return np.ones(ready, np.float32)
        return _window_minimum(values, self._window)


def _window_minimum(values: Floats, window: int) -> Floats:
    """Return the minimum of every `window` neighbours, by windows that double."""
    covered = 1
    while covered * 2 <= window:
        values = np.minimum(values[:-covered], values[covered:])
        covered *= 2
    rest = window - covered
    return np.minimum(values[: len(values) - rest], values[rest:])


class Release:
    """Lets the gain rise by at most so many dB per second; a fall passes at once."""

    def __init__(self, sample_rate: int, db_per_second: float) -> None:
        """Pass everything through where `db_per_second` is 0."""
        self._step = db_per_second / sample_rate
        self._level = 0.0

    def feed(self, gains: Floats) -> Floats:
        """Return the slowed gains.

        The recursion min(g[t], g[t-1] + step) is a running minimum of g[t] - step t, in dB.
        """
        if not self._step or not len(gains) or (self._level >= 0 and gains.min() >= 1):
            return gains
        slope = self._step * np.arange(1, len(gains) + 1)
        level = 20 * np.log10(gains.astype(np.float64)) - slope
        level[0] = min(level[0], self._level)
        level = np.minimum(np.minimum.accumulate(level) + slope, 0.0)
        self._level = float(level[-1])
        slowed: Floats = (10 ** (level / 20)).astype(np.float32)
        return slowed


class HannMean:
    """Weighted mean over an odd `length` of frames, `length // 2` frames late."""

    def __init__(self, length: int) -> None:
        """Begin as if 1 had gone before."""
        weights = np.hanning(length + 2)[1:-1]
        weights /= weights.sum()
        matrix = np.zeros((_MEAN_ROWS + length - 1, _MEAN_ROWS), np.float32)
        for row in range(_MEAN_ROWS):
            matrix[row : row + length, row] = weights
        self._matrix = matrix
        self._length = length
        self._past = np.zeros(length // 2, np.float32)  # of 1 - gain: what is 0 stays exactly 0

    def feed(self, gains: Floats) -> Floats:
        """Return the means of the frames whose future is complete."""
        values = np.concatenate([self._past, 1 - gains])
        ready = len(values) - self._length + 1
        if ready <= 0:
            self._past = values
            return np.empty(0, np.float32)
        self._past = values[ready:].copy()
        rows = -(-ready // _MEAN_ROWS)
        padded = np.zeros((rows - 1) * _MEAN_ROWS + len(self._matrix), np.float32)
        padded[: len(values)] = values
        view = np.lib.stride_tricks.sliding_window_view(padded, len(self._matrix))[::_MEAN_ROWS]
        means = np.zeros((rows, _MEAN_ROWS), np.float32)
        active = np.flatnonzero(view.any(axis=1))
        if len(active):
            means[active] = view[active] @ self._matrix
        return 1 - means.reshape(-1)[:ready]


class Limiter:
    """Limits planar blocks; what comes out has the length and place of what went in."""

    def __init__(
        self, sample_rate: int, channels: int, *, ceiling_db: float, lookahead_ms: float, release_db_per_second: float
    ) -> None:
        """Hold `ceiling_db` (dBTP), less a small margin."""
        reach = int(lookahead_ms * sample_rate / 1000) | 1
        self._sidechain = Sidechain(sample_rate, channels, 10 ** ((ceiling_db - MARGIN_DB) / 20))
        self._stages: Sequence[SlidingMinimum | Release | HannMean] = (
            SlidingMinimum(reach),
            Release(sample_rate, release_db_per_second),
            HannMean(reach),
        )
        self._delay = self._sidechain.delay + reach + reach // 2
        self._samples = np.empty((channels, 0), np.float32)
        self._awaited = 0
        self._lead = _LEAD
        self.limited = 0
        """Frames that were lowered by more than 0.01 dB."""
        self.lowest_gain = 1.0
        self._advance(np.zeros((channels, _LEAD), np.float32))

    def feed(self, planar: Planar) -> Planar:
        """Return the limited frames that are ready; they come late, and all of them by `finish`."""
        self._awaited += planar.shape[1]
        ready, gains = self._advance(planar)
        skipped = min(self._lead, len(gains))
        self._lead -= skipped
        return self._give(ready[:, skipped:], gains[skipped:])

    def finish(self) -> Planar:
        """Return the frames that are left."""
        awaited, lead = self._awaited, self._lead
        ready, gains = self._advance(np.zeros((len(self._samples), self._delay + GROUP), np.float32))
        return self._give(ready[:, lead : lead + awaited], gains[lead : lead + awaited])

    def _advance(self, planar: Planar) -> tuple[Planar, Floats]:
        """Push samples through all stages; return the frames that come out, and their gains."""
        self._samples = np.concatenate([self._samples, planar], axis=1)
        gains = self._sidechain.feed(planar)
        for stage in self._stages:
            gains = stage.feed(gains)
        ready: Planar = self._samples[:, : len(gains)] * gains
        self._samples = self._samples[:, len(gains) :].copy()
        return ready, gains

    def _give(self, ready: Planar, gains: Floats) -> Planar:
        self._awaited -= len(gains)
        if len(gains):
            self.limited += int(np.count_nonzero(gains < _LIMITED))
            self.lowest_gain = min(self.lowest_gain, float(gains.min()))
        return ready

    @property
    def max_reduction_db(self) -> float:
        """The most that was taken away."""
        return -20 * math.log10(max(self.lowest_gain, 1e-9))
