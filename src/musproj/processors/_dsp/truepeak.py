"""True peak: what the samples reach between them, by interpolation (ITU-R BS.1770-5 annex 2)."""

import functools
import math

import numpy as np
from numpy.typing import NDArray

from musproj.processors._formats.decoder import Floats, Planar

GROUP = 64
"""Samples that are interpolated together, as one row of a matrix product."""

METER_NAME = "fir24x4"

_TAPS_PER_SIDE = 12
_KAISER_BETA = 8.0
_BATCH = 64
"""Groups per product: the peak found so far is compared again in between, and most groups fall away."""


def oversampling(sample_rate: int) -> int:
    """Return the factor that leads to 192 kHz or above (BS.1770-5 annex 2), 1 where the rate suffices."""
    return 4 if sample_rate < 96_000 else 2 if sample_rate < 192_000 else 1


def kernels(taps_per_side: int, factor: int, beta: float, cutoff: float = 1.0) -> NDArray[np.float64]:
    """Return (factor, 2 * taps_per_side) windowed-sinc interpolators, each with a gain of 1 at 0 Hz.

    Row p, laid over samples i - taps_per_side + 1 … i + taps_per_side, gives the value at i + p / factor.
    `cutoff` below 1, in parts of half the sample rate, rolls the top octave off as converters do.
    """
    place = np.arange(1 - taps_per_side, taps_per_side + 1)[None, :] - np.arange(factor)[:, None] / factor
    window = np.i0(beta * np.sqrt(np.clip(1 - (place / taps_per_side) ** 2, 0, 1))) / np.i0(beta)
    taps = np.sinc(place * cutoff) * window
    return np.asarray(taps / taps.sum(axis=1, keepdims=True))


class Interpolator:
    """Interpolates groups of `GROUP` samples by one matrix product."""

    def __init__(self, phases: NDArray[np.float64]) -> None:
        """Take the rows of `kernels` that are wanted."""
        count, taps = phases.shape
        self.span = GROUP + taps - 1
        """Samples that one group needs."""
        self.taps = taps
        self.gain = float(np.abs(phases).sum(axis=1).max())
        """No interpolated value exceeds the largest sample under the kernel by more than this factor."""
        matrix = np.zeros((self.span, count, GROUP), np.float32)
        for offset in range(GROUP):
            matrix[offset : offset + taps, :, offset] = phases.T
        self._matrix = matrix.reshape(self.span, count * GROUP)
        self._count = count

    def peak(self, rows: Floats) -> float:
        """Return the largest magnitude between the samples of (groups, span)."""
        values = rows @ self._matrix
        return max(float(values.max()), -float(values.min()))

    def peaks(self, rows: Floats) -> Floats:
        """Return (groups, GROUP) of (groups, span) samples: the largest magnitude before the next sample."""
        values = rows @ self._matrix
        np.abs(values, out=values)
        phases = values.reshape(-1, self._count, GROUP)
        found: Floats = phases[:, 0].copy()
        for phase in range(1, self._count):
            np.maximum(found, phases[:, phase], out=found)
        return found


def group_peaks(magnitudes: Planar) -> Planar:
    """Return (channels, groups): the largest of each `GROUP` magnitudes.

    What is not negative sorts like its bits, and numpy's maximum of integers is four times as fast.
    """
    bits = np.ascontiguousarray(magnitudes).view(np.int32)
    peaks: Planar = bits.reshape(len(magnitudes), -1, GROUP).max(axis=2).view(np.float32)
    return peaks


@functools.cache
def quick_interpolator(sample_rate: int) -> Interpolator | None:
    """Return the interpolator of the usual meter, or None where the rate makes it needless."""
    factor = oversampling(sample_rate)
    return None if factor == 1 else Interpolator(kernels(_TAPS_PER_SIDE, factor, _KAISER_BETA)[1:])


def windows(channel: Floats, groups: int, span: int) -> Floats:
    """Return a (groups, span) view of one channel, a row for every `GROUP` samples."""
    return np.lib.stride_tricks.sliding_window_view(channel, span)[: groups * GROUP : GROUP]


class PeakMeter:
    """Sample peak and true peak of planar blocks.

    Only groups that could exceed the peak found so far are interpolated, the most promising first, which for
    music is a small part of them; the result is that of interpolating everything.
    """

    def __init__(self, sample_rate: int, channels: int, *, true_peak: bool = True) -> None:
        """Measure the true peak as well, unless told otherwise or the rate makes it the sample peak."""
        self._interpolate = quick_interpolator(sample_rate) if true_peak else None
        self._history = self._interpolate.taps - 1 if self._interpolate else 0
        self._tail = np.zeros((channels, self._history), np.float32)
        self.sample_peak = 0.0
        """Largest magnitude of a sample."""
        self._between = 0.0

    @property
    def true_peak(self) -> float:
        """Largest magnitude at or between samples."""
        return max(self.sample_peak, self._between)

    def feed(self, planar: Planar) -> None:
        """Measure (channels, frames) more."""
        if self._interpolate is None:
            self.sample_peak = max(self.sample_peak, float(planar.max()), -float(planar.min()))
            return
        samples = np.concatenate([self._tail, planar], axis=1)
        groups = (samples.shape[1] - self._history) // GROUP
        self._tail = samples[:, groups * GROUP :].copy()
        if groups:
            self._measure(samples, groups, self._interpolate)

    def finish(self) -> None:
        """Measure what rings behind the last sample."""
        if self._interpolate is not None:
            self.feed(np.zeros((self._tail.shape[0], self._history + GROUP), np.float32))

    def _measure(self, samples: Planar, groups: int, interpolate: Interpolator) -> None:
        size = groups * GROUP
        bound = group_peaks(np.abs(samples[:, :size]))
        last = np.abs(samples[:, size : size + self._history]).max(axis=1)
        np.maximum(bound[:, :-1], bound[:, 1:], out=bound[:, :-1])
        np.maximum(bound[:, -1], last, out=bound[:, -1])
        self.sample_peak = max(self.sample_peak, float(bound.max()))
        bound *= interpolate.gain
        for channel, limits in zip(samples, bound, strict=True):
            self._search(windows(channel, groups, interpolate.span), limits, interpolate)

    def _search(self, rows: Floats, bound: Floats, interpolate: Interpolator) -> None:
        hopeful = np.flatnonzero(bound > self.true_peak)
        order = hopeful[np.argsort(bound[hopeful])[::-1]]
        for at in range(0, len(order), _BATCH):
            batch = order[at : at + _BATCH]
            if bound[batch[0]] <= self.true_peak:
                break
            self._between = max(self._between, interpolate.peak(rows[batch]))


def to_db(magnitude: float) -> float | None:
    """Return dB relative to full scale, or None for digital silence."""
    return 20 * math.log10(magnitude) if magnitude > 0 else None
