"""Where one signal lies in another: the cross-correlation of whole recordings, a stretch at a time.

Stretches are correlated by the Fourier transform with overlap-save, and summed as spectra, so that one inverse
transform at the end gives the correlation of everything (Oppenheim and Schafer, Discrete-Time Signal Processing, 8.7).
"""

import attrs
import numpy as np
from numpy.typing import NDArray

from musproj.processors._formats.decoder import Planar


@attrs.frozen
class Alignment:
    """How two signals go together best."""

    lag: int
    """Samples by which the second one is late."""
    correlation: float | None
    """-1 to 1 at that lag; None where one of them is silent."""


class CrossCorrelation:
    """Takes two signals in step and tells where the second one fits the first."""

    def __init__(self, channels: int, max_lag: int) -> None:
        """Look at most `max_lag` samples to either side."""
        self.max_lag = max_lag
        self._size = 1 << max(12, (4 * max_lag).bit_length())
        self._step = self._size - 2 * max_lag
        self._spectrum: NDArray[np.complex128] = np.zeros(self._size // 2 + 1, np.complex128)
        self._first: Planar = np.zeros((channels, 0), np.float32)
        self._second: Planar = np.zeros((channels, max_lag), np.float32)
        self._energies = [0.0, 0.0]

    def feed(self, first: Planar, second: Planar) -> None:
        """Take (channels, frames) more of both."""
        for number, samples in enumerate((first, second)):
            self._energies[number] += float(np.einsum("cf,cf->", samples, samples, dtype=np.float64))
        self._append(first, second)
        while self._first.shape[1] >= self._size:  # the second one then reaches far enough
            self._correlate()

    def result(self) -> Alignment:
        """Return the lag of the largest correlation, of either sign; nearest to 0 among equals."""
        silence = np.zeros((len(self._first), self._size), np.float32)
        while self._first.shape[1] > 0:
            missing = max(0, self._size - self._first.shape[1])
            at_end = self._first.shape[1] <= self._step
            self._append(silence[:, :missing], silence[:, :missing])
            self._correlate()
            if at_end:
                break
        scale = np.sqrt(self._energies[0] * self._energies[1])
        if scale == 0:
            return Alignment(0, None)
        whole = np.fft.irfft(self._spectrum, self._size)[: 2 * self.max_lag + 1] / scale
        best = np.abs(whole).max()
        # Rounding differs from lag to lag: without a margin it would choose among equals.
        equals = np.flatnonzero(np.abs(whole) >= best * (1 - 1e-6)) - self.max_lag
        lag = int(equals[np.argmin(np.abs(equals))])
        return Alignment(lag, float(np.clip(whole[lag + self.max_lag], -1, 1)))

    def _append(self, first: Planar, second: Planar) -> None:
        self._first = np.concatenate([self._first, first], axis=1)
        self._second = np.concatenate([self._second, second], axis=1)

    def _correlate(self) -> None:
        """Correlate one stretch of the first signal with all of the second that may match it."""
        for one, other in zip(self._first, self._second, strict=True):
            shifted = np.fft.rfft(other[: self._size])
            self._spectrum += np.conj(np.fft.rfft(one[: self._step], self._size)) * shifted
        self._first, self._second = self._first[:, self._step :], self._second[:, self._step :]
