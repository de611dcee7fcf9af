"""The waveform as a picture: what a player shows before its own drawing is ready."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musproj.processors._formats import png
from musproj.processors._runs.waveform_peaks import PeakFile

WIDTH, HEIGHT = 1_200, 240
_COLOUR = (64, 120, 192)
"""A blue that can be seen on white and on black; the background is transparent."""
_EDGE_COLOUR = (110, 160, 222)
_LEAST = 1.0
"""Pixels: silence is a line, not a gap."""


def draw(path: Path, peaks: PeakFile) -> None:
    """Draw all channels' extremes over time, anti-aliased."""
    low, high = _columns(peaks)
    middle = HEIGHT / 2
    top, bottom = middle * (1 - high / 32_768), middle * (1 - low / 32_768)
    lacking = np.maximum(0, _LEAST - (bottom - top)) / 2
    top, bottom = top - lacking, bottom + lacking
    rows = np.arange(HEIGHT)[:, None]
    covered = np.clip(np.minimum(bottom, rows + 1) - np.maximum(top, rows), 0, 1)
    # The further out, the lighter: the loudest moments stand out of a dense band.
    distance = np.abs(rows + 0.5 - middle) / middle
    pixels = np.empty((HEIGHT, WIDTH, 4), np.uint8)
    for index, (inner, outer) in enumerate(zip(_COLOUR, _EDGE_COLOUR, strict=True)):
        pixels[..., index] = np.rint(inner + (outer - inner) * distance)
    pixels[..., 3] = np.rint(255 * covered)
    pixels[pixels[..., 3] == 0] = 0
    png.write(path, pixels)


def _columns(peaks: PeakFile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return minimum and maximum of each of the picture's columns."""
    low, high = np.full(WIDTH, np.inf), np.full(WIDTH, -np.inf)
    at = 0
    for pairs in peaks.chunks():
        place = np.arange(at, at + len(pairs)) * WIDTH // peaks.pairs
        np.minimum.at(low, place, pairs[..., 0].min(axis=1))
        np.maximum.at(high, place, pairs[..., 1].max(axis=1))
        at += len(pairs)
    filled = np.flatnonzero(np.isfinite(low))
    nearest = filled[np.maximum(np.searchsorted(filled, np.arange(WIDTH), side="right") - 1, 0)]
    return low[nearest], high[nearest]
