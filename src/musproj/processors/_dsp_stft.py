"""The short-time Fourier transform, many frames at a time and without a loop over them.

Analysis and synthesis use the square root of the periodic Hann window with a hop of a quarter; their product sums to
a constant (Allen and Rabiner 1977), so an unchanged spectrum gives the samples back.
"""

from functools import cached_property
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from musproj.processors._decoder import Planar

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
        # numpy 2 keeps float32 as complex64, whatever its types say.
        spectrum: Spectrum = np.fft.rfft(frames * self._window, axis=2).astype(np.complex64, copy=False)
        return spectrum

    def inverse(self, spectrum: Spectrum) -> Planar:
        """Return (channels, (frames + 3) x hop) samples.

        The first and last `size - hop` of them lack frames beyond the ends, and are quieter than they should be.
        """
        channels, count, _ = spectrum.shape
        frames = np.fft.irfft(spectrum, self.size, axis=2)
        frames *= self._window * np.float32(2 / OVERLAP)
        quarters = frames.reshape(channels, count, OVERLAP, self.hop)
        out = np.zeros((channels, count + OVERLAP - 1, self.hop), np.float32)
        for quarter in range(OVERLAP):
            out[:, quarter : quarter + count] += quarters[:, :, quarter]
        return out.reshape(channels, -1)
