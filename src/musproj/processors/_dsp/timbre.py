"""What a sound is like over time, coarsely: bands of its spectrum and its level, 43 times a second."""

import numpy as np
from numpy.typing import NDArray

from musproj.processors._dsp.resample import Resampler
from musproj.processors._formats.decoder import Block, Floats

RATE = 11_025
HOP = 256
FRAMES_PER_SECOND = RATE / HOP
BANDS = 33

_SIZE = 1_024
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 5_200.0
_COMPRESSION = 3_000.0
"""log(1 + x · amplitude): a band at -70 dBFS is as good as silent."""


class Timbre:
    """Takes blocks of audio and gives rows of band levels: the mean of all channels, Hann frames of 93 ms."""

    def __init__(self, sample_rate: int) -> None:
        """Look at what comes at `sample_rate`."""
        self._resampler = Resampler(sample_rate, RATE, 1, "MQ")
        self._window = np.hanning(_SIZE + 1)[:-1].astype(np.float32)
        self._bands = _triangles() / np.float32(_SIZE / 4)  # a sine of full scale counts 1
        # Frames are centred: the first one lies half before the start.
        self._pending = np.zeros(_SIZE // 2, np.float32)

    def feed(self, block: Block) -> Floats:
        """Return (rows, BANDS) of what is ready, 0 for silence, about 8 at full scale."""
        return self._rows(self._resampler.feed(block.mean(axis=1, keepdims=True, dtype=np.float32))[:, 0])

    def finish(self) -> Floats:
        """Return the rest: one row for every `HOP` samples of the whole."""
        rest = self._rows(self._resampler.finish()[:, 0])
        return np.concatenate([rest, self._rows(np.zeros(_SIZE // 2, np.float32))])

    def _rows(self, mono: Floats) -> Floats:
        self._pending = np.concatenate([self._pending, mono])
        if len(self._pending) < _SIZE:
            return np.zeros((0, BANDS), np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(self._pending, _SIZE)[::HOP]
        spectrum = np.abs(np.fft.rfft(frames * self._window, axis=1)).astype(np.float32)
        self._pending = self._pending[len(frames) * HOP :].copy()
        rows: Floats = np.log1p(np.float32(_COMPRESSION) * (spectrum @ self._bands))
        return rows


def _triangles() -> NDArray[np.float32]:
    """Return (bins, BANDS) of triangular bands, spaced evenly by the logarithm of the frequency."""
    edges = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, BANDS + 2)
    # A bin is 11 Hz: the lowest bands are narrower, and would miss every one.
    low = np.minimum(edges[:-2], edges[1:-1] - RATE / _SIZE)
    high = np.maximum(edges[2:], edges[1:-1] + RATE / _SIZE)
    hz = np.fft.rfftfreq(_SIZE, 1 / RATE)[:, None]
    up, down = (hz - low) / (edges[1:-1] - low), (high - hz) / (high - edges[1:-1])
    weights = np.clip(np.minimum(up, down), 0, None)
    return np.asarray(weights / weights.sum(axis=0), np.float32)
