"""Plain facts about levels: RMS, offset, clipping, silence at the ends, equal channels."""

import numpy as np
from numpy.typing import NDArray

from musproj.processors._dsp.truepeak import to_db
from musproj.processors._formats.decoder import Planar

_CLIPPED = 0.9999
_CLIPPED_RUN = 3
"""Fewer samples in a row at full scale are honest peaks."""
_SILENCE = 10 ** (-60 / 20)
_SUM_FRAMES = 4_096
"""Squares are added up in float32 over so many frames, in float64 beyond."""


class LevelMeter:
    """Measures planar blocks one after the other."""

    def __init__(self, channels: int) -> None:
        """Begin with nothing."""
        self._frames = 0
        self._sums: NDArray[np.float64] = np.zeros(channels)
        self._squares: NDArray[np.float64] = np.zeros(channels)
        self._first_sound: int | None = None
        self._last_sound = -1
        self._equal = channels > 1
        self._run = np.zeros(channels, np.int64)
        self._clipped_runs = 0

    def feed(self, planar: Planar) -> None:
        """Measure (channels, frames) more."""
        frames = planar.shape[1]
        self._sums += planar.sum(axis=1)
        for at in range(0, frames, _SUM_FRAMES):
            part = planar[:, at : at + _SUM_FRAMES]
            self._squares += np.einsum("cf,cf->c", part, part)
        self._equal = self._equal and all(np.array_equal(planar[0], other) for other in planar[1:])
        highest = max(float(planar.max()), -float(planar.min()))
        if highest >= _SILENCE:
            self._take_sound(planar)
        self._count_clipped(planar, highest)
        self._frames += frames

    def facts(self, sample_rate: int) -> dict[str, object]:
        """Return the result's keys; what is not defined for silence is absent."""
        if not self._frames:
            return {}
        rms = to_db(float(np.sqrt(self._squares.sum() / (self._frames * len(self._squares)))))
        silence = (
            {}
            if self._first_sound is None
            else {
                "leadingSilence": self._first_sound / sample_rate,
                "trailingSilence": (self._frames - 1 - self._last_sound) / sample_rate,
            }
        )
        return {
            **({} if rms is None else {"rmsDbfs": rms}),
            "dcOffset": [float(value) for value in self._sums / self._frames],
            "clippedRuns": self._clipped_runs,
            **silence,
            **({"isDualMono": self._equal} if len(self._sums) > 1 else {}),
        }

    def _take_sound(self, planar: Planar) -> None:
        if self._first_sound is None:
            self._first_sound = self._frames + int(_sounding(planar).argmax())
        for end in range(planar.shape[1], 0, -_SUM_FRAMES):
            loud = _sounding(planar[:, max(0, end - _SUM_FRAMES) : end])
            if loud.any():
                self._last_sound = self._frames + end - 1 - int(loud[::-1].argmax())
                return

    def _count_clipped(self, planar: Planar, highest: float) -> None:
        if highest < _CLIPPED:
            self._run[:] = 0
            return
        for index, channel in enumerate(planar):
            full = np.abs(channel) >= _CLIPPED
            edges = np.flatnonzero(np.diff(full, prepend=False, append=False))
            lengths = edges[1::2] - edges[::2]
            if len(lengths) and full[0]:
                carried = int(self._run[index])
                # A run that has been counted before goes on; one that only now is long enough counts now.
                self._clipped_runs -= carried >= _CLIPPED_RUN
                lengths[0] += carried
            self._clipped_runs += int(np.count_nonzero(lengths >= _CLIPPED_RUN))
            self._run[index] = lengths[-1] if len(lengths) and full[-1] else 0


def _sounding(planar: Planar) -> NDArray[np.bool_]:
    """Return which frames are no silence, in any channel."""
    loud: NDArray[np.bool_] = np.max(np.abs(planar), axis=0) >= _SILENCE
    return loud
