"""The noise floor: what is left in the pauses."""

import numpy as np

from musproj.processors._dsp.truepeak import to_db
from musproj.processors._formats.decoder import Planar

_HOP_SECONDS = 0.05
_PERCENTILE = 10
"""As much of speech is pause; found by listening to where the pauses of the test recordings lie."""


class FloorMeter:
    """Measures planar blocks: the 10th percentile of the level of 50 ms, over all channels."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        """Begin with nothing."""
        self._hop = max(1, round(_HOP_SECONDS * sample_rate))
        self._pending = np.zeros((channels, 0), np.float32)
        self._levels: list[np.ndarray] = []

    def feed(self, samples: Planar) -> None:
        """Measure (channels, frames) more."""
        joined = np.concatenate([self._pending, samples], axis=1)
        hops = joined.shape[1] // self._hop
        whole = joined[:, : hops * self._hop].reshape(len(joined), hops, self._hop)
        if hops:
            self._levels.append(np.square(whole).mean(axis=(0, 2)))
        self._pending = joined[:, hops * self._hop :].copy()

    def floor_dbfs(self) -> float | None:
        """Return the floor; None where all is silent or shorter than a hop."""
        if not self._levels:
            return None
        power = float(np.percentile(np.concatenate(self._levels), _PERCENTILE))
        return to_db(float(np.sqrt(power)))
