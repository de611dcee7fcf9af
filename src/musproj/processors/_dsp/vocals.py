"""The vocals of a mix without a model: what does not repeat and comes from the centre."""

from collections.abc import Callable

import numpy as np

from musproj.processors._dsp.repeating import repeating
from musproj.processors._dsp.stft import Spectrum, Stft, size_near
from musproj.processors._formats.decoder import Floats, Planar

_FRAME_SECONDS = 0.0929
_SIMILAR, _APART_SECONDS = 20, 0.46
_LOWEST_HZ, _HIGHEST_HZ = 110.0, 12_000.0
_REST_EXPONENT, _CENTRE_EXPONENT = 0.125, 0.75
"""By SI-SDR on speech and synthetic singing over game music. Half the frames that hold nothing but music lie below the
median, so that the share of what does not repeat is noisy: a hard mask follows the noise."""
_TINY = np.float32(1e-12)


class VocalMask:
    """Estimates the vocals of stretches of audio, one at a time."""

    def __init__(self, sample_rate: int, strength: float, check: Callable[[], None]) -> None:
        """Mask what comes at `sample_rate`; `check` is called several times a second."""
        self._stft = Stft(size_near(_FRAME_SECONDS, sample_rate))
        self._apart = round(_APART_SECONDS * sample_rate / self._stft.hop)
        hz = np.fft.rfftfreq(self._stft.size, 1 / sample_rate)
        self._band = (hz >= _LOWEST_HZ) & (hz <= _HIGHEST_HZ)
        self._strength = strength
        self._check = check

    def __call__(self, samples: Planar) -> Planar:
        """Return the vocals in (1 or 2, frames)."""
        size, frames = self._stft.size, samples.shape[1]
        padded = np.pad(samples, ((0, 0), (size, size + (-frames) % self._stft.hop)))
        spectrum = self._stft.forward(padded)
        self._check()
        spectrum *= self._mask(spectrum)
        self._check()
        return self._stft.inverse(spectrum)[:, size : size + frames]

    def _mask(self, spectrum: Spectrum) -> Floats:
        magnitudes = np.abs(spectrum).sum(axis=0)
        common = repeating(magnitudes, similar=_SIMILAR, apart=self._apart, check=self._check)
        rest = np.square(magnitudes - common)
        mask: Floats = (rest / (rest + np.square(common) + np.float32(1e-9))) ** np.float32(_REST_EXPONENT)
        del rest, common, magnitudes
        self._check()
        if len(spectrum) > 1:
            mask *= _centred(spectrum)
        if self._strength != 1:
            mask **= np.float32(self._strength)
        mask[:, ~self._band] = 0
        return mask


def _centred(spectrum: Spectrum) -> Floats:
    """Return 0 to 1 for each bin: how far both channels hold the same, over 3 by 3 bins (after Avendano 2003)."""
    left, right = spectrum
    shared = _mean3(left.real * right.real + left.imag * right.imag)
    powers = [_mean3(np.square(channel.real) + np.square(channel.imag)) for channel in (left, right)]
    both = (powers[0] + powers[1]) * np.float32(0.5)
    unequal = np.abs(powers[0] - powers[1]) * np.float32(0.5)
    share = np.clip((np.maximum(shared, 0) - unequal) / (both + _TINY), 0, 1)
    centred: Floats = share ** np.float32(_CENTRE_EXPONENT)
    return centred


def _mean3(values: Floats) -> Floats:
    """Return the mean of each value and its eight neighbours; beyond the edge is nothing."""
    rows = values.copy()
    rows[1:] += values[:-1]
    rows[:-1] += values[1:]
    out = rows.copy()
    out[:, 1:] += rows[:, :-1]
    out[:, :-1] += rows[:, 1:]
    out *= np.float32(1 / 9)
    return out
