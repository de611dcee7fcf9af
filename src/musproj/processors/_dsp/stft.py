"""The short-time Fourier transform, many frames at a time and without a loop over them.

Analysis and synthesis use the square root of the periodic Hann window with a hop of a quarter; their product sums to
a constant (Allen and Rabiner 1977), so an unchanged spectrum gives the samples back.
"""

from functools import cached_property
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from musproj.processors._formats.decoder import Planar

Spectrum: TypeAlias = NDArray[np.complex64]
"""complex64 (channels, frames, bins)."""

OVERLAP = 4


def size_near(seconds: float, sample_rate: int) -> int:
    """Return the power of two nearest to `seconds` of samples."""
    return int(2 ** round(np.log2(seconds * sample_rate)))


@attrs.frozen(slots=False)
class Stft:
    """Frames of `size` samples, each a quarter of it after the one before."""

    size: int
    """Samples; a multiple of 4."""

    @property
    def hop(self) -> int:
        """Samples from frame to frame."""
        return self.size // OVERLAP

    @property
    def bins(self) -> int:
        """Frequencies from 0 Hz to half the sample rate."""
        return self.size // 2 + 1

    @cached_property
    def _window(self) -> NDArray[np.float32]:
        angle = np.pi * np.arange(self.size) / self.size
        return np.sin(angle).astype(np.float32)  # the square root of 0.5 - 0.5 cos(2 angle)

    def forward(self, samples: Planar) -> Spectrum:
        """Return the spectrum of every frame that lies wholly within (channels, samples)."""
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.size, axis=1)[:, :: self.hop]
        spectrum = np.empty((*frames.shape[:2], self.bins), np.complex64)
        for channel, samples_of in enumerate(frames):  # one at a time: the windowed frames are a copy
            spectrum[channel] = np.fft.rfft(samples_of * self._window, axis=1)
        return spectrum

    def inverse(self, spectrum: Spectrum) -> Planar:
        """Return (channels, (frames + 3) x hop) samples.

        The first and last `size - hop` of them lack frames beyond the ends, and are quieter than they should be.
        """
        channels, count, _ = spectrum.shape
        out = np.zeros((channels, count + OVERLAP - 1, self.hop), np.float32)
        window = self._window * np.float32(2 / OVERLAP)
        for found, given in zip(spectrum, out, strict=True):
            frames = np.fft.irfft(found, self.size, axis=1)
            frames *= window
            quarters = frames.reshape(count, OVERLAP, self.hop)
            for quarter in range(OVERLAP):
                given[quarter : quarter + count] += quarters[:, quarter]
        return out.reshape(channels, -1)
