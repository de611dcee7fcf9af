"""Guesses, from 10 ms summaries, what a limiter will leave of the loudness, so that one pass mostly suffices."""

from array import array

import numpy as np

from musproj.processors._dsp.limiter import Release
from musproj.processors._dsp.loudness import HOPS_PER_SECOND, integrated_of_steps, steps_of_hops
from musproj.processors._formats.decoder import Floats

_STEPS = 24
"""Halvings of the interval: 40 dB to below 0.00001 dB."""
_PIECE = 60_000
"""Hops that are computed at once: ten minutes, and a whole number of 100 ms."""


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
    gain = np.float32(10 ** (gain_db / 20))
    ceiling = np.float32(10 ** (ceiling_db / 20)) / gain
    release = Release(HOPS_PER_SECOND, release_db_per_second)
    steps = [np.empty(0)]
    for at in range(0, len(energies), _PIECE):  # piece by piece: hours have millions of hops
        part = energies[at : at + _PIECE]
        lowered = release.feed(_lowered(peaks, at, len(part), ceiling))
        steps.append(steps_of_hops(part * np.square(lowered * gain)))
    loudness = integrated_of_steps(np.concatenate(steps))
    return -np.inf if loudness is None else loudness


def _lowered(peaks: Floats, first: int, count: int, ceiling: np.float32) -> Floats:
    """Return the gains of `count` hops, each pulled down by its neighbours."""
    places = np.clip(np.arange(first - 1, first + count + 1), 0, len(peaks) - 1)
    needed = np.minimum(np.float32(1), ceiling / np.maximum(peaks[places], np.float32(1e-9)))
    own, beside = needed[1:-1], (needed[:-2] + needed[2:]) / 2
    # A dip reaches 7.5 ms to both sides: of a neighbour's, about half arrives.
    return np.minimum(own, (own + beside) / 2)


class HopPeaks:
    """Keeps the largest magnitude of every 10 ms, whatever the channel."""

    def __init__(self, sample_rate: int) -> None:
        """Use hops of the nearest whole number of frames."""
        self._hop = round(sample_rate / HOPS_PER_SECOND)
        self._rest = np.empty(0, np.float32)
        self._peaks = array("f")

    def feed(self, planar: Floats) -> None:
        """Take (channels, frames) more."""
        magnitude = np.concatenate([self._rest, np.abs(planar).max(axis=0)])
        whole = len(magnitude) - len(magnitude) % self._hop
        self._peaks.frombytes(magnitude[:whole].reshape(-1, self._hop).max(axis=1).tobytes())
        self._rest = magnitude[whole:]

    def values(self) -> Floats:
        """Return the peaks of all complete hops."""
        return np.frombuffer(self._peaks, np.float32)
