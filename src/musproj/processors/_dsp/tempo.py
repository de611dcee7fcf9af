"""Onsets and tempo, from how the bands rise (Ellis, Beat Tracking by Dynamic Programming, 2007, section 3)."""

import attrs
import numpy as np
from numpy.typing import NDArray

from musproj.processors._formats.decoder import Floats

_TREND_FRAMES = 51
_SLOWEST_BPM, _FASTEST_BPM = 50.0, 200.0
_USUAL_BPM, _OCTAVES = 120.0, 0.9
"""Among tempi that fit as well, the usual one is meant: a Gaussian over the octaves."""
_MULTIPLES = (1, 2, 4, 8)
_ITSELF = 0.6
_BLUR = np.array([0.25, 0.75, 1.0, 0.75, 0.25]) / 3
"""Beats of live music are off by a frame or two."""
_STRETCH = 8_192
_LONGEST_LAG = 2_048
"""Frames: 16 beats at any tempo but the slowest."""
_HINT_SPAN = 0.04
"""By so much a given tempo may be off."""


@attrs.frozen
class Tempo:
    """An estimate."""

    bpm: float
    strength: float
    """0 to 1: how periodic the onsets are."""


def onsets(rises: Floats) -> NDArray[np.float32]:
    """Return the onset strength of each frame, its trend taken away: 0 and more, 1 for a strong one."""
    if not len(rises):
        return np.zeros(0, np.float32)
    padded = np.pad(rises, _TREND_FRAMES // 2, mode="edge")
    sharp = np.clip(rises - np.convolve(padded, np.ones(_TREND_FRAMES) / _TREND_FRAMES, mode="valid"), 0, None)
    strong = float(np.percentile(sharp, 99))
    return np.asarray(np.clip(sharp / strong, 0, 1) if strong > 0 else sharp * 0, np.float32)


def tempo(onset: NDArray[np.float32], frames_per_second: float, hint_bpm: float | None = None) -> Tempo | None:
    """Return the tempo that fits the onsets best, or None where there is no more than two beats of the slowest.

    The autocorrelation at 1, 2, 4 and 8 beats is added up, so that a beat that is sometimes left out still counts;
    the highest multiple that the recording holds sharpens the result.
    """
    correlation = _autocorrelation(np.convolve(onset, _BLUR, mode="same"))
    longest = len(correlation) - 1
    low, high = _range(hint_bpm)
    lags = np.arange(60 * frames_per_second / high, min(60 * frames_per_second / low, longest), 0.05)
    if not len(lags) or correlation[0] <= 0:
        return None
    places = np.arange(len(correlation))
    fits = np.array([np.interp(np.minimum(lags * n, longest), places, correlation) for n in _MULTIPLES])
    # Where only the multiples fit, one of them is the beat.
    scores = fits.sum(axis=0) * (_ITSELF + (1 - _ITSELF) * np.clip(fits[0] / np.maximum(fits.max(axis=0), 1e-12), 0, 1))
    if hint_bpm is None:
        distance = np.log2(60 * frames_per_second / lags / _USUAL_BPM)
        scores *= np.exp(-0.5 * (distance / _OCTAVES) ** 2)
    beat = float(lags[np.argmax(scores)])
    strength = float(np.clip(np.interp(beat, places, correlation) / correlation[0], 0, 1))
    bpm = 60 * frames_per_second / _sharpened(beat, correlation)
    if hint_bpm is not None and not low <= bpm <= high:  # what is sharper there is another tempo
        bpm = 60 * frames_per_second / beat
    return Tempo(float(bpm), strength)


def _range(hint_bpm: float | None) -> tuple[float, float]:
    if hint_bpm is None:
        return _SLOWEST_BPM, _FASTEST_BPM
    return hint_bpm * (1 - _HINT_SPAN), hint_bpm * (1 + _HINT_SPAN)


def _sharpened(beat: float, correlation: NDArray[np.float64]) -> float:
    """Return the beat in frames from the place of the peak near its highest multiple."""
    for multiple in (2, 4, 8, 16):
        width = max(2, round(beat / 4))
        centre = round(beat * multiple)
        if centre + width + 1 >= len(correlation):
            break
        near = correlation[centre - width : centre + width + 1]
        top = int(np.argmax(near))
        if 0 < top < len(near) - 1:
            before, here, after = near[top - 1 : top + 2]
            bend = before - 2 * here + after
            shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
            beat = (centre - width + top + shift) / multiple
    return beat


def _autocorrelation(onset: Floats) -> NDArray[np.float64]:
    """Return the correlation of the onsets with themselves, per frame that overlaps, at lags up to `_LONGEST_LAG`.

    It is summed over stretches, so that hours take no more memory than minutes.
    """
    count = len(onset)
    longest = min(count // 2, _LONGEST_LAG)
    if count < len(_BLUR):
        return np.zeros(1)
    level = onset - onset.mean(dtype=np.float64)
    step = _STRETCH - longest
    spectrum: NDArray[np.complex128] = np.zeros(_STRETCH // 2 + 1, np.complex128)
    for at in range(0, count, step):
        ahead = np.fft.rfft(level[at : at + _STRETCH], _STRETCH)
        spectrum += np.conj(np.fft.rfft(level[at : at + step], _STRETCH)) * ahead
    whole = np.fft.irfft(spectrum, _STRETCH)[: longest + 1]
    return np.asarray(whole / np.arange(count, count - longest - 1, -1))
