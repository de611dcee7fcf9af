"""Where a recording comes back to what it was: pairs of places whose surroundings sound alike.

Every frame is compared with every later one within the lengths wanted (the banded part of a self-similarity matrix,
Foote 1999), chunk by chunk, from rows that lie on disk.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from musproj.processors._dsp.tempo import Tempo
from musproj.processors._dsp.timbre import BANDS
from musproj.processors._dsp.timbre import FRAMES_PER_SECOND as _FINE_PER_SECOND
from musproj.processors._formats.decoder import Floats

FRAMES_PER_SECOND = _FINE_PER_SECOND / 2
"""Two frames of bands are one here: 46 ms are near enough for a first look."""

_SILENT = 0.3
"""No band above it, of `Timbre`'s scale: about -80 dBFS."""
_LEVEL_SHARE = 0.2
_LEVEL_ANGLE = 0.4
"""Radians per unit of level: 10 dB apart makes a tenth of the level's share."""
_WIDTH = BANDS + 3

_CONTEXT_SECONDS = 1.0
_CHUNK = 256
_PER_CHUNK = 24
_CANDIDATES = 12
_HALF_SEEN = 0.7
"""What is alike as far as it can be seen counts at least so much."""
_APART_SECONDS, _APART_LAG = 0.25, 0.1
_EVERYWHERE, _ON_ONSET, _LONGER, _ON_BEAT = 0.5, 0.15, 0.02, 0.15
"""Weights beside the similarity of the place itself."""
_BEATS = {4: 1.0, 8: 1.0, 16: 1.0, 32: 1.0, 64: 1.0, 6: 0.5, 12: 0.6, 24: 0.6, 48: 0.6}
_BEAT_SPAN = 0.015


@attrs.frozen
class Candidate:
    """A loop, to about 46 ms."""

    start: float
    """Seconds."""
    length: float
    """Seconds."""
    similarity: float
    """-1 to 1: how alike the surroundings of both ends are, over a second."""
    score: float


class TimbreFile:
    """Rows to compare, on disk; made from rows of `Timbre`."""

    def __init__(self, path: Path) -> None:
        """Create `path`."""
        self._path = path
        self._odd: Floats = np.zeros((0, BANDS), np.float32)
        self.rows = 0
        path.write_bytes(b"")

    def append(self, bands: Floats) -> None:
        """Add rows of `Timbre`; two make one."""
        joined = np.concatenate([self._odd, bands])
        whole = len(joined) // 2 * 2
        self._odd = joined[whole:].copy()
        paired = joined[:whole].reshape(-1, 2, BANDS).mean(axis=1)
        with self._path.open("ab") as file:
            file.write(_unit_rows(paired).tobytes())
        self.rows += len(paired)

    def read(self, first: int, count: int) -> Floats:
        """Return (count, width) rows; those that do not exist are 0."""
        out = np.zeros((count, _WIDTH), np.float32)
        begin, end = max(0, first), min(first + count, self.rows)
        if begin < end:
            offset = begin * _WIDTH * 4
            found = np.fromfile(self._path, np.float32, (end - begin) * _WIDTH, offset=offset)
            out[begin - first : end - first] = found.reshape(-1, _WIDTH)
        return out


@attrs.frozen
class Search:
    """The search for loops of `shortest` to `longest` rows."""

    rows: TimbreFile
    onset: NDArray[np.float32]
    """0 to 1 for each row."""
    shortest: int
    longest: int
    check: Callable[[], None]
    """Called once per chunk; may end the search."""

    def candidates(self, tempo: Tempo | None) -> list[Candidate]:
        """Return the best loops that differ from each other, best first."""
        profile = np.zeros(self._lags)
        for _, similar in self._chunks(0):
            profile += similar.sum(axis=0, dtype=np.float64)
        lags = np.arange(self.shortest, self.longest + 1)
        profile /= np.maximum(self.rows.rows - lags, 1)
        favour = _EVERYWHERE * profile + _LONGER * np.log2(lags) + self._on_beat(lags, tempo)
        found: list[tuple[float, float, int, int]] = []
        half = round(_CONTEXT_SECONDS * FRAMES_PER_SECOND / 2)
        for first, similar in self._chunks(half):
            found += self._best(first, self._evidence(first, half) * _summed(similar, half), favour)
        return self._distinct(sorted(found, reverse=True))

    @property
    def _lags(self) -> int:
        return self.longest - self.shortest + 1

    def _chunks(self, context: int) -> Iterator[tuple[int, Floats]]:
        """Yield `(first row, similarity)`: of so many rows and their context, at each lag."""
        for first in range(0, max(0, self.rows.rows - self.shortest), _CHUNK):
            self.check()
            count = _CHUNK + 2 * context
            rows = self.rows.read(first - context, count)
            later = self.rows.read(first - context + self.shortest, count + self._lags - 1)
            product = rows @ later.T
            down, right = product.strides
            yield first, as_strided(product, (count, self._lags), (down + right, right), writeable=False)

    def _best(self, first: int, local: Floats, favour: Floats) -> list[tuple[float, float, int, int]]:
        """Return `(score, similarity, row, lag)` of the best of a chunk."""
        count = min(len(local), self.rows.rows - first)
        local = local[:count]
        score = local + favour.astype(np.float32)
        score += _ON_ONSET * self.onset[first : first + count, None]
        ends = first + np.arange(count)[:, None] + self.shortest + np.arange(self._lags)
        score[ends > self.rows.rows] = -np.inf
        flat = np.argpartition(score, -min(_PER_CHUNK, score.size), axis=None)[-_PER_CHUNK:]
        places = zip(*np.unravel_index(flat, score.shape), strict=True)
        return [
            (float(score[row, lag]), float(local[row, lag]), first + int(row), self.shortest + int(lag))
            for row, lag in places
            if np.isfinite(score[row, lag])
        ]

    def _evidence(self, first: int, half: int) -> Floats:
        """Return what a sum over the context is to be multiplied by: near the ends of the file there is less of it."""
        rows = np.arange(first, first + _CHUNK)[:, None]
        ends = self.rows.rows - 1 - np.arange(self.shortest, self.longest + 1)
        there = np.minimum(rows + half, ends) - np.maximum(rows - half, 0) + 1
        whole = 2 * half + 1
        factor: Floats = (_HALF_SEEN + (1 - _HALF_SEEN) * there / whole) / np.maximum(there, 1)
        return factor.astype(np.float32)

    def _distinct(self, found: list[tuple[float, float, int, int]]) -> list[Candidate]:
        kept: list[Candidate] = []
        for score, similarity, row, lag in found:
            start, length = row / FRAMES_PER_SECOND, lag / FRAMES_PER_SECOND
            if all(abs(start - one.start) > _APART_SECONDS or abs(length - one.length) > _APART_LAG for one in kept):
                kept.append(Candidate(start, length, similarity, score))
                if len(kept) == _CANDIDATES:
                    break
        return kept

    @staticmethod
    def _on_beat(lags: NDArray[np.int64], tempo: Tempo | None) -> Floats:
        """Return what a length is worth for being so many beats."""
        if tempo is None:
            return np.zeros(len(lags))
        beat = 60 * FRAMES_PER_SECOND / tempo.bpm
        worth = [
            weight * np.exp(-0.5 * ((lags - beats * beat) / (_BEAT_SPAN * beats * beat + 0.5)) ** 2)
            for beats, weight in _BEATS.items()
        ]
        best: Floats = np.max(worth, axis=0) * (_ON_BEAT * (0.5 + 0.5 * tempo.strength))
        return best


def _unit_rows(bands: Floats) -> Floats:
    """Return rows whose product is their similarity: the shape of the spectrum, the level, and silence like silence."""
    rows = np.zeros((len(bands), _WIDTH), np.float32)
    silent = bands.max(axis=1, initial=0.0) < _SILENT
    level = bands.mean(axis=1)
    shape = bands - level[:, None]
    shape /= np.maximum(np.linalg.norm(shape, axis=1, keepdims=True), 1e-9)
    rows[:, :BANDS] = shape * np.sqrt(1 - _LEVEL_SHARE)
    rows[:, BANDS] = np.cos(level * _LEVEL_ANGLE) * np.sqrt(_LEVEL_SHARE)
    rows[:, BANDS + 1] = np.sin(level * _LEVEL_ANGLE) * np.sqrt(_LEVEL_SHARE)
    rows[silent] = 0
    rows[silent, BANDS + 2] = 1
    return rows


def _summed(similar: Floats, half: int) -> Floats:
    """Return the sum over `half` rows to either side, without the context."""
    sums = np.cumsum(similar, axis=0, dtype=np.float32)
    around: Floats = sums[2 * half :].copy()
    around[1:] -= sums[: -2 * half - 1]
    return around
