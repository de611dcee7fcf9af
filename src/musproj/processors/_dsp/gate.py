"""Lowers steady noise in the spectrum: a gate, or the log-spectral amplitude estimator, over a noise that is tracked.

The noise of each frequency is the 15th percentile of its power over six seconds, followed from stretch to stretch by
at most 1.5 dB so that a long held sound is not learnt at once. The gate is spectral subtraction with over-subtraction
(Berouti, Schwartz and Makhoul 1979), smoothed over time and frequency against musical tones; the other method is
Ephraim and Malah's (1985) with the decision-directed estimate of the signal-to-noise ratio.
"""

import math
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from musproj.processors._dsp.stft import Spectrum, Stft, size_near
from musproj.processors._formats.decoder import Floats, Planar

Method: TypeAlias = Literal["gate", "wiener"]

_FRAME_SECONDS = 0.0464
_STRETCH_SECONDS = 6.0
_CONTEXT = 4
"""Frames on both sides of a stretch: as far as the means over time reach."""
_NOISE_MEAN, _SNR_MEAN, _BIN_MEAN = 9, 5, 3
"""Frames, frames and bins."""
_SILENT = 1e-9
"""Power in every bin: far below the noise of 16 bits."""
_PERCENTILE = 0.15
_SLOWEST, _FASTEST = 0.7, 1.4
"""How much the noise may change from one stretch to the next, as power."""
_LINE_REACH, _LINE_RATIO = 20, 1.5
"""Bins on both sides, and how far above their median noise may lie, as power. Found on recordings of speech in noise,
which lose nothing by it, and of music, whose held tones were taken for noise without it."""
_BIAS = 1.15
"""The noise's mean power above the percentile of its smoothed power."""
_OVERSUBTRACTION = 1.5
_TINY = 1e-12
_LEAST_STRETCH = 0.25
"""A shorter last stretch says too little about the noise."""


class NoiseReducer:
    """Takes planar blocks and gives as many samples back, later, without delay between input and output."""

    def __init__(
        self, sample_rate: int, channels: int, *, reduction_db: float, sensitivity: float = 1.0, method: Method = "gate"
    ) -> None:
        """Lower noise by up to `reduction_db`; `sensitivity` multiplies the over-subtraction."""
        self._stft = Stft(size_near(_FRAME_SECONDS, sample_rate))
        self._frames = max(1, int(_STRETCH_SECONDS * sample_rate / self._stft.hop))
        self._floor = np.float32(10 ** (-reduction_db / 20))
        self._gains = _Gate(sensitivity) if method == "gate" else _LogSpectral(self._stft.bins)
        self._noise: NDArray[np.float32] | None = None
        self._lead = self._stft.size - self._stft.hop
        # From `_CONTEXT` frames before the next stretch on; those before the first hold nothing and are not counted.
        self._pending = np.zeros((channels, self._lead), np.float32)
        self._context = 0
        self._tail = np.zeros((channels, self._lead), np.float32)
        self._skip = self._lead
        self._owed = 0

    def feed(self, samples: Planar) -> Planar:
        """Take (channels, frames) more and return what is ready."""
        self._owed += samples.shape[1]
        self._pending = np.concatenate([self._pending, samples], axis=1)
        ready = [self._stretch(self._frames, _CONTEXT) for _ in range(self._full_stretches())]
        return np.concatenate(ready, axis=1) if ready else self._pending[:, :0]

    def finish(self) -> Planar:
        """Return the rest."""
        hop = self._stft.hop
        rest = self._owed + self._skip
        frames = -(-rest // hop)
        needed = (self._context + frames - 1) * hop + self._stft.size
        missing = max(0, needed - self._pending.shape[1])
        self._pending = np.pad(self._pending, ((0, 0), (0, missing)))
        ready: list[Planar] = []
        while self._owed:
            count = min(frames, self._frames)
            ready.append(self._stretch(count, min(_CONTEXT, frames - count)))
            frames -= count
        return np.concatenate(ready, axis=1) if ready else self._pending[:, :0]

    def _full_stretches(self) -> int:
        """Return how many stretches with their context lie wholly in what came."""
        hop, count, context = self._stft.hop, 0, self._context
        while (context + self._frames * (count + 1) + _CONTEXT - 1) * hop + self._stft.size <= self._pending.shape[1]:
            if context < _CONTEXT:  # the second stretch keeps the context of the first
                return 1
            count += 1
        return count

    def _stretch(self, frames: int, ahead: int) -> Planar:
        """Process the next `frames`, looking at the context behind and `ahead`."""
        hop, behind = self._stft.hop, self._context
        length = (behind + frames + ahead - 1) * hop + self._stft.size
        spectrum = self._stft.forward(self._pending[:, :length])
        power = _power(spectrum)
        self._track(power, frames)
        noise = np.zeros_like(power[0]) if self._noise is None else self._noise
        gain = self._gains(power, noise)[behind : behind + frames]
        gain = np.maximum(_mean(gain, _BIN_MEAN, axis=1), self._floor)
        kept = spectrum[:, behind : behind + frames]
        kept *= gain
        out = self._stft.inverse(kept)
        keep = min(_CONTEXT, behind + frames)
        self._pending = self._pending[:, (behind + frames - keep) * hop :].copy()
        self._context = keep
        return self._overlapped(out, frames * hop)

    def _overlapped(self, out: Planar, ready: int) -> Planar:
        """Add what the stretch before left over; return what no later frame touches, as far as it is owed."""
        out[:, : self._lead] += self._tail
        self._tail = out[:, ready:].copy()
        skipped = min(self._skip, ready)
        self._skip -= skipped
        given = out[:, skipped:ready][:, : self._owed]
        self._owed -= given.shape[1]
        return given

    def _track(self, power: Floats, frames: int) -> None:
        """Learn the noise of this stretch."""
        if self._noise is not None and frames < _LEAST_STRETCH * self._frames:
            return
        smooth = _mean(power, _NOISE_MEAN, axis=0)
        audible = smooth[smooth.max(axis=1) > _SILENT]
        if not len(audible):  # of digital silence nothing is learnt, or the noise would be 0 for ever
            return
        rank = int(_PERCENTILE * (len(audible) - 1))
        now = _broadband(np.partition(audible, rank, axis=0)[rank])
        self._noise = now if self._noise is None else np.clip(now, _SLOWEST * self._noise, _FASTEST * self._noise)


class _Gate:
    """Spectral subtraction."""

    def __init__(self, sensitivity: float) -> None:
        self._over = np.float32(_OVERSUBTRACTION * sensitivity)

    def __call__(self, power: Floats, noise: Floats) -> Floats:
        snr = _mean(power / (np.float32(_BIAS) * np.maximum(noise, np.float32(_TINY))), _SNR_MEAN, axis=0)
        share: Floats = self._over / np.maximum(snr, np.float32(1e-6))
        gain: Floats = np.maximum(1 - share, 0)
        return gain


class _LogSpectral:
    """Ephraim and Malah's estimator; each frame needs the one before."""

    def __init__(self, bins: int) -> None:
        self._before: Floats = np.zeros(bins, np.float32)
        self._log_v, self._half_e1 = _half_exponential_integral()

    def __call__(self, power: Floats, noise: Floats) -> Floats:
        snr = power / (np.float32(_BIAS) * np.maximum(noise, np.float32(_TINY)))
        gains = np.empty_like(snr)
        for frame, gamma in enumerate(snr):
            prior: Floats = np.maximum(0.96 * self._before + 0.04 * np.maximum(gamma - 1, 0), 3e-3)
            share = prior / (1 + prior)
            log_v: NDArray[np.float64] = np.log(np.clip(share * gamma, 1e-4, 50)).astype(np.float64)
            half_e1: NDArray[np.float64] = np.interp(log_v, self._log_v, self._half_e1).astype(np.float64)
            gain = np.clip(share * np.exp(half_e1), 0, 1)
            self._before = gain**2 * gamma
            gains[frame] = gain
        return gains


def _power(spectrum: Spectrum) -> Floats:
    """Return the mean over channels of the squared magnitude: one gain for all keeps the image in place."""
    total: Floats = np.square(spectrum.real).sum(axis=0)
    total += np.square(spectrum.imag).sum(axis=0)
    total /= len(spectrum)
    return total


def _broadband(noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the noise without its lines: a frequency that stands far above its neighbours is a held tone."""
    reach = min(_LINE_REACH, len(noise))
    padded = np.pad(noise, reach, mode="edge")
    medians = np.median(np.lib.stride_tricks.sliding_window_view(padded, reach), axis=1)
    # The louder side, or else the low end of pink noise, which rises towards 0 Hz, would be taken for a line.
    around = np.maximum(medians[: len(noise)], medians[reach + 1 :])
    return np.minimum(noise, np.float32(_LINE_RATIO) * around).astype(np.float32, copy=False)


def _mean(values: Floats, width: int, *, axis: int) -> Floats:
    """Return the centred running mean; near the ends over what is there."""
    count = values.shape[axis]
    reach = min(width // 2, count - 1)
    total = values.copy()
    weight = np.ones(count, np.float32)
    for shift in range(1, reach + 1):
        here, there = _slices(axis, slice(shift, None)), _slices(axis, slice(None, -shift))
        total[here] += values[there]
        total[there] += values[here]
        weight[shift:] += 1
        weight[:-shift] += 1
    shape = (-1, 1) if axis == 0 else (1, -1)
    total /= weight.reshape(shape)
    return total


def _slices(axis: int, part: slice) -> tuple[slice, slice]:
    return (part, slice(None)) if axis == 0 else (slice(None), part)


def _half_exponential_integral() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return log v and E1(v) / 2 at 4,000 points from 1e-4 to 50."""
    v = np.geomspace(1e-4, 50, 4_000)
    return np.log(v), 0.5 * np.where(v <= 1, _series(v), _fraction(v))


def _series(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return E1 near 0 (Abramowitz and Stegun 5.1.11)."""
    near = np.minimum(v, 1.0)
    total = -np.euler_gamma - np.log(near)
    for n in range(1, 25):
        total -= (-near) ** n / (n * math.factorial(n))
    return total


def _fraction(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return E1 from 1 on, as a continued fraction (Abramowitz and Stegun 5.1.22)."""
    far = np.maximum(v, 1.0)
    tail: NDArray[np.float64] = np.zeros_like(far)
    for n in range(60, 0, -1):
        tail = n / (1 + n / (far + tail))
    return np.exp(-far) / (far + tail)
