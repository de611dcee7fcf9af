"""Loudness after ITU-R BS.1770-5 and EBU R 128 (Tech 3341, 3342), in memory that hardly grows.

Energies are summed over 10 ms: steps of 100 ms would do for the integrated loudness and the range, but miss the
maximum of the momentary loudness by up to 0.45 LU (EBU Tech 3341, case 13). For the whole file only sums of
100 ms are kept, 288 kB an hour; and those of 10 ms where the caller wants to predict a limiter.
"""

import math
from array import array

import attrs
import numpy as np
from numpy.typing import NDArray

from musproj.processors._dsp.biquads import SectionFilter, k_weighting
from musproj.processors._formats.decoder import Floats, Planar

_OFFSET = -0.691  # BS.1770-5 annex 1, equation 2
_ABSOLUTE_GATE = 10 ** ((-70 - _OFFSET) / 10)  # BS.1770-5 annex 1: -70 LKFS
_RELATIVE_GATE = 0.1  # BS.1770-5 annex 1: -10 LU
_RANGE_GATE = 0.01  # EBU Tech 3342: -20 LU
_LOW, _HIGH = 0.10, 0.95  # EBU Tech 3342: percentiles of the loudness range

HOPS_PER_SECOND = 100
_MOMENTARY_HOPS = 40  # 400 ms
_SHORT_TERM_HOPS = 300  # 3 s
_STEP_HOPS = 10  # 100 ms: gating blocks overlap by 75 %
_SURROUND = 1.41  # BS.1770-5 annex 1, table 3: 60° to 120° to the side

Energies = NDArray[np.float64]


def channel_weights(speakers: tuple[str, ...] | None, channels: int) -> tuple[float, ...]:
    """Return BS.1770's weight per channel: none for the LFE, 1.41 for what stands at the side.

    Back speakers count as the surrounds of 5.1 (±110°) where there are no side speakers; with them they stand
    at ±135°, which weighs 1.
    """
    if speakers is None:
        return (1.0,) * channels
    sides = {"SL", "SR"} if "SL" in speakers or "SR" in speakers else {"BL", "BR"}
    return tuple(0.0 if name == "LFE" else _SURROUND if name in sides else 1.0 for name in speakers)


def energy_to_lufs(energy: float) -> float | None:
    """Return the loudness of a weighted mean square, or None for silence."""
    return _OFFSET + 10 * math.log10(energy) if energy > 0 else None


@attrs.frozen(kw_only=True)
class Loudness:
    """What a meter found; None where it is not defined: too short, or silent."""

    integrated: float | None
    """LUFS."""
    max_momentary: float | None
    """LUFS."""
    max_short_term: float | None
    """LUFS."""
    range_lu: float | None


class LoudnessMeter:
    """Measures planar blocks one after the other."""

    def __init__(self, sample_rate: int, weights: tuple[float, ...], *, keep_hops: bool = False) -> None:
        """Weigh channels by `weights`; `keep_hops` keeps the energies of 10 ms as well."""
        self._rate = sample_rate
        self._weights = np.array(weights, np.float32)[:, None]
        self._filter = SectionFilter(k_weighting(sample_rate), len(weights), np.float32)
        self._rest = np.empty(0, np.float32)
        self._hop = 0
        self._recent: Energies = np.empty(0)
        self._steps = array("d")  # it grows by an eighth, in place; hours of small numpy arrays would cost thrice that
        self._step_rest: Energies = np.empty(0)
        self._hops = array("f") if keep_hops else None
        self._max_momentary = self._max_short_term = 0.0

    def feed(self, planar: Planar) -> None:
        """Measure (channels, frames) more."""
        filtered = self._filter(planar)
        np.multiply(filtered, filtered, out=filtered)
        if len(self._weights) > 1 or self._weights[0, 0] != 1:
            filtered *= self._weights
        energy = np.concatenate([self._rest, filtered.sum(axis=0)])
        hops, used = self._hop_sums(energy)
        self._rest = energy[used:].copy()
        if len(hops):
            self._take(hops)

    def result(self) -> Loudness:
        """Return what was found so far."""
        gated = _gated(self._windows(_MOMENTARY_HOPS))
        return Loudness(
            integrated=energy_to_lufs(gated),
            max_momentary=energy_to_lufs(self._max_momentary),
            max_short_term=energy_to_lufs(self._max_short_term),
            range_lu=_loudness_range(self._windows(_SHORT_TERM_HOPS)),
        )

    def short_term_curve(self, step_seconds: float, floor_lufs: float) -> list[float]:
        """Return the short-term loudness every `step_seconds` from 3 s on, not below `floor_lufs`."""
        windows = self._windows(_SHORT_TERM_HOPS)
        picked = windows[:: max(1, round(step_seconds * HOPS_PER_SECOND / _STEP_HOPS))]
        floor = 10 ** ((floor_lufs - _OFFSET) / 10)
        return [float(value) for value in _OFFSET + 10 * np.log10(np.maximum(picked, floor))]

    def hop_energies(self) -> NDArray[np.float32]:
        """Return the mean squares of every 10 ms; `keep_hops` must have been asked for."""
        if self._hops is None:
            raise ValueError("the meter was not told to keep its hops")
        return np.frombuffer(self._hops, np.float32)

    def _edges(self, first: int, count: int, unit: int = 1) -> NDArray[np.int64]:
        """Return the samples at which hops begin: every 10 ms, rounded where the rate is not a multiple of 100."""
        index = np.arange(first, first + count + 1, dtype=np.int64) * unit
        edges: NDArray[np.int64] = (index * self._rate * 2 + HOPS_PER_SECOND) // (2 * HOPS_PER_SECOND)
        return edges

    def _hop_sums(self, energy: Floats) -> tuple[Energies, int]:
        """Return the sums of the hops that are complete in `energy`, and the samples that they used."""
        exact, odd = divmod(self._rate, HOPS_PER_SECOND)
        if not odd:
            count = len(energy) // exact
            return energy[: count * exact].reshape(count, exact).sum(axis=1).astype(np.float64), count * exact
        start = self._edges(self._hop, 0)[0]
        edges = self._edges(self._hop, len(energy) * HOPS_PER_SECOND // self._rate + 2) - start
        count = int(np.searchsorted(edges, len(energy), side="right")) - 1
        if count <= 0:
            return np.empty(0), 0
        used = int(edges[count])
        return np.add.reduceat(energy[:used], edges[:count]).astype(np.float64), used

    def _take(self, hops: Energies) -> None:
        recent = np.concatenate([self._recent, hops])
        first = self._hop - len(self._recent)
        self._max_momentary = max(self._max_momentary, self._largest(recent, first, _MOMENTARY_HOPS))
        self._max_short_term = max(self._max_short_term, self._largest(recent, first, _SHORT_TERM_HOPS))
        self._recent = recent[-(_SHORT_TERM_HOPS - 1) :]
        if self._hops is not None:
            means = hops / np.diff(self._edges(self._hop, len(hops)))
            self._hops.frombytes(means.astype(np.float32).tobytes())
        self._hop += len(hops)
        steps = np.concatenate([self._step_rest, hops])
        whole = len(steps) - len(steps) % _STEP_HOPS
        self._steps.frombytes(steps[:whole].reshape(-1, _STEP_HOPS).sum(axis=1).tobytes())
        self._step_rest = steps[whole:]

    def _largest(self, hops: Energies, first: int, window: int) -> float:
        """Return the largest mean square of `window` hops among `hops`, the first of which has number `first`."""
        if len(hops) < window:
            return 0.0
        sums = _window_sums(hops, window)
        edges = self._edges(first, len(hops))
        return float((sums / (edges[window:] - edges[:-window])).max())

    def _windows(self, hops: int) -> Energies:
        """Return the mean squares of all windows of `hops` hops, every 100 ms."""
        # A copy: as long as numpy looks at it, the array cannot grow, and somebody may feed on.
        steps = np.array(self._steps, np.float64)
        size = hops // _STEP_HOPS
        if len(steps) < size:
            return np.empty(0)
        edges = self._edges(0, len(steps), _STEP_HOPS)
        return _window_sums(steps, size) / (edges[size:] - edges[:-size])


def steps_of_hops(hops: Floats) -> Energies:
    """Return the mean squares of every 100 ms from those of every 10 ms, without an incomplete last one."""
    whole = len(hops) - len(hops) % _STEP_HOPS
    steps: Energies = hops[:whole].reshape(-1, _STEP_HOPS).mean(axis=1, dtype=np.float64)
    return steps


def integrated_of_steps(steps: Energies) -> float | None:
    """Return the integrated loudness (LUFS) of mean squares of 100 ms."""
    size = _MOMENTARY_HOPS // _STEP_HOPS
    return energy_to_lufs(_gated(_window_sums(steps, size) / size)) if len(steps) >= size else None


def _window_sums(values: Energies, size: int) -> Energies:
    """Return the sums of each `size` neighbours; summed anew, so that nothing loud leaves a residue behind."""
    view = np.lib.stride_tricks.sliding_window_view(values, size)
    sums: Energies = view.sum(axis=1)
    return sums


def _gated(energies: Energies) -> float:
    """Return the mean of the gating blocks above both gates, 0 where none is (BS.1770-5 annex 1)."""
    kept = energies[energies > _ABSOLUTE_GATE]
    if not len(kept):
        return 0.0
    kept = kept[kept > _RELATIVE_GATE * kept.mean()]
    return float(kept.mean()) if len(kept) else 0.0


def _loudness_range(energies: Energies) -> float | None:
    """Return the range between the 10th and the 95th percentile of gated short-term loudness (Tech 3342)."""
    kept = energies[energies >= _ABSOLUTE_GATE]
    if not len(kept):
        return None
    kept = np.sort(kept[kept >= _RANGE_GATE * kept.mean()])
    low, high = (kept[int((len(kept) - 1) * share + 0.5)] for share in (_LOW, _HIGH))
    return float(10 * math.log10(high) - 10 * math.log10(low))
