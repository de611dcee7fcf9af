"""Where sound begins and ends: the RMS of hops of 10 ms, in the loudest channel."""

import numpy as np

from musproj.processors._formats.decoder import Block

_HOPS_PER_SECOND = 100


class SoundFinder:
    """Takes blocks from front to back and remembers the first and the last hop that is loud."""

    def __init__(self, sample_rate: int, channels: int, threshold_dbfs: float) -> None:
        """A hop is loud at or above `threshold_dbfs`; a full-scale square has 0."""
        self._hop = max(1, round(sample_rate / _HOPS_PER_SECOND))
        self._least = 10 ** (threshold_dbfs / 10)
        self._rest: Block = np.empty((0, channels), np.float32)
        self._start = 0
        self.first: int | None = None
        """The first sample of the first loud hop."""
        self.last = 0
        """The sample behind the last loud hop."""

    def feed(self, block: Block) -> None:
        """Look at the next samples, float32 (frames, channels)."""
        samples = np.concatenate([self._rest, block]) if len(self._rest) else block
        whole = len(samples) // self._hop * self._hop
        self._look(samples[:whole], self._hop)
        self._rest = samples[whole:].copy()

    def finish(self) -> None:
        """Look at the last hop, which may be shorter."""
        if len(self._rest):
            self._look(self._rest, len(self._rest))

    def _look(self, samples: Block, hop: int) -> None:
        hops = samples.reshape(-1, hop, samples.shape[1])
        energy = np.einsum("hfc,hfc->hc", hops, hops, dtype=np.float64).max(axis=1) / hop
        loud = np.flatnonzero(energy >= self._least)
        if len(loud):
            if self.first is None:
                self.first = self._start + int(loud[0]) * hop
            self.last = self._start + (int(loud[-1]) + 1) * hop
        self._start += len(samples)
