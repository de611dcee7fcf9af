"""Guesses, from 10 ms summaries, what a limiter will leave of the loudness, so that one pass mostly suffices."""

import numpy as np

from musproj.processors._decoder import Floats
from musproj.processors._dsp_limiter import Release
from musproj.processors._dsp_loudness import HOPS_PER_SECOND, integrated_of_hops

_STEPS = 24
"""Halvings of the interval: 40 dB to below 0.00001 dB."""


def gain_for_loudness(
    energies: Floats,
    peaks: Floats,
    *,
    target_lufs: float,
    ceiling_db: float,
    release_db_per_second: float,
    lowest_db: float,
    highest_db: float,
) -> float:
    """Return the gain (dB) in front of a limiter with which the loudness comes out at `target_lufs`.

    Args:
        energies: Weighted mean squares of every 10 ms.
        peaks: Largest magnitudes of every 10 ms.
        target_lufs: Wanted integrated loudness.
        ceiling_db: The limiter's ceiling.
        release_db_per_second: The limiter's release.
        lowest_db: The gain that would do without a limiter.
        highest_db: No more than this, reached or not.
    """
    count = min(len(energies), len(peaks))
    hops = energies[:count], peaks[:count]

    def predicted(gain_db: float) -> float:
        return _predicted(*hops, gain_db, ceiling_db, release_db_per_second)

    low, high = lowest_db, max(lowest_db, highest_db)
    if predicted(high) <= target_lufs:
        return high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if predicted(middle) < target_lufs:
            low = middle
        else:
            high = middle
    return high


def _predicted(
    energies: Floats, peaks: Floats, gain_db: float, ceiling_db: float, release_db_per_second: float
) -> float:
    """Return the loudness (LUFS) behind a limiter whose gain follows each 10 ms and its neighbours."""
    gain = 10 ** (gain_db / 20)
    ceiling = 10 ** (ceiling_db / 20)
    needed = np.minimum(np.float32(1), np.float32(ceiling / gain) / np.maximum(peaks, np.float32(1e-9)))
    padded = np.concatenate([needed[:1], needed, needed[-1:]])
    # A dip reaches 7.5 ms to both sides: of a neighbour's, about half arrives.
    beside = (padded[:-2] + padded[2:]) / 2
    lowered = np.minimum(needed, (needed + beside) / 2)
    lowered = Release(HOPS_PER_SECOND, release_db_per_second).feed(lowered)
    loudness = integrated_of_hops(energies * np.square(lowered * np.float32(gain)))
    return -np.inf if loudness is None else loudness


class HopPeaks:
    """Keeps the largest magnitude of every 10 ms, whatever the channel."""

    def __init__(self, sample_rate: int) -> None:
        """Use hops of the nearest whole number of frames."""
        self._hop = round(sample_rate / HOPS_PER_SECOND)
        self._rest = np.empty(0, np.float32)
        self._peaks: list[Floats] = []

    def feed(self, planar: Floats) -> None:
        """Take (channels, frames) more."""
        magnitude = np.concatenate([self._rest, np.abs(planar).max(axis=0)])
        whole = len(magnitude) - len(magnitude) % self._hop
        self._peaks.append(magnitude[:whole].reshape(-1, self._hop).max(axis=1))
        self._rest = magnitude[whole:]

    def values(self) -> Floats:
        """Return the peaks of all complete hops."""
        return np.concatenate(self._peaks) if self._peaks else np.empty(0, np.float32)
