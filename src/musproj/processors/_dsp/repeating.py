"""What repeats in a spectrogram: for each frame the median of those most like it.

REPET-SIM (Rafii and Pardo, Music/Voice Separation Using the Similarity Matrix, 2012). The median is taken by a
sorting network over whole rows (Batcher 1968), which is ten times as fast as sorting values.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Magnitudes = NDArray[np.float32]
"""float32 (frames, bins)."""

_CHUNK = 8
"""Frames at a time: what is compared stays in the cache."""


def repeating(magnitudes: Magnitudes, *, similar: int, apart: int, check: Callable[[], None]) -> Magnitudes:
    """Return the part of `magnitudes` that other frames have too, never more than there is.

    For each frame the `similar` most similar ones are taken, itself among them, none nearer than `apart` frames.
    `check` is called now and then.
    """
    nearest = _nearest(magnitudes, similar, apart, check)
    out = np.empty_like(magnitudes)
    for at in range(0, len(magnitudes), _CHUNK):
        if at % (32 * _CHUNK) == 0:
            check()
        chosen = nearest[at : at + _CHUNK]
        rows = [magnitudes[chosen[:, place]] for place in range(chosen.shape[1])]
        np.minimum(_median(rows), magnitudes[at : at + _CHUNK], out=out[at : at + _CHUNK])
    return out


def _nearest(magnitudes: Magnitudes, similar: int, apart: int, check: Callable[[], None]) -> NDArray[np.intp]:
    """Return (frames, similar) indices."""
    norms = np.linalg.norm(magnitudes, axis=1, keepdims=True)
    unit = magnitudes / np.maximum(norms, np.float32(1e-12))
    count = len(magnitudes)
    similar = min(similar, count)
    nearest = np.empty((count, similar), np.intp)
    for at in range(0, count, 256):
        check()
        alike = unit[at : at + 256] @ unit.T
        for row in range(len(alike)):
            here = at + row
            alike[row, max(0, here - apart) : here + apart + 1] = -1
            alike[row, here] = 2
        nearest[at : at + 256] = np.argpartition(alike, count - similar, axis=1)[:, count - similar :]
    return nearest


def _median(rows: list[Magnitudes]) -> Magnitudes:
    """Return the median of equally shaped arrays, element by element; they are overwritten."""
    spare = np.empty_like(rows[0])
    for low, high in _median_network(len(rows)):
        np.minimum(rows[low], rows[high], out=spare)
        np.maximum(rows[low], rows[high], out=rows[high])
        rows[low], spare = spare, rows[low]
    middle = len(rows) // 2
    if len(rows) % 2:
        return rows[middle]
    mean: Magnitudes = (rows[middle - 1] + rows[middle]) * np.float32(0.5)
    return mean


@cache
def _median_network(count: int) -> Sequence[tuple[int, int]]:
    """Return the comparisons of an odd-even merge sort that the middle depends on."""
    comparisons: list[tuple[int, int]] = []
    merged = 1
    while merged < count:
        distance = merged
        while distance >= 1:
            for first in range(distance % merged, count - distance, 2 * distance):
                places = range(first, first + min(distance, count - first - distance))
                block = 2 * merged
                comparisons += [(low, low + distance) for low in places if low // block == (low + distance) // block]
            distance //= 2
        merged *= 2
    wanted = {count // 2, (count - 1) // 2}
    kept: list[tuple[int, int]] = []
    for pair in reversed(comparisons):
        if wanted & set(pair):
            kept.append(pair)
            wanted |= set(pair)
    return tuple(reversed(kept))
