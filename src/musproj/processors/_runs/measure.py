"""One pass over a file that measures loudness and peaks; what `analyze` reports and `enhance` steers by."""

import numpy as np

from musproj.ports.processor import Context
from musproj.processors._dsp.loudness import Loudness, LoudnessMeter, channel_weights
from musproj.processors._dsp.truepeak import METER_NAME, PeakMeter, to_db
from musproj.processors._formats.decoder import Block, Planar
from musproj.processors.blocks import BlockReader

DUAL_MONO_WEIGHT = 2.0
"""A mono file played on two loudspeakers counts twice: +3.01 LU."""


def planar(block: Block) -> Planar:
    """Return (frames, channels) as contiguous (channels, frames)."""
    return np.ascontiguousarray(block.T)


def weights_of(source: BlockReader, *, dual_mono: bool) -> tuple[float, ...]:
    """Return the loudness weight of each channel of `source`."""
    if source.channels == 1 and dual_mono:
        return (DUAL_MONO_WEIGHT,)
    return channel_weights(source.speakers, source.channels)


class Measurement:
    """Loudness and peaks of one signal."""

    def __init__(
        self, source: BlockReader, *, dual_mono: bool, true_peak: bool = True, keep_hops: bool = False
    ) -> None:
        """Measure what has the shape of `source`."""
        weights = weights_of(source, dual_mono=dual_mono)
        self.loudness = LoudnessMeter(source.sample_rate, weights, keep_hops=keep_hops)
        self.peaks = PeakMeter(source.sample_rate, source.channels, true_peak=true_peak)
        self._true_peak = true_peak

    def feed(self, samples: Planar) -> None:
        """Measure (channels, frames) more."""
        self.loudness.feed(samples)
        self.peaks.feed(samples)

    def finish(self) -> Loudness:
        """Return the loudness; the peaks are complete then."""
        self.peaks.finish()
        return self.loudness.result()

    def facts(self, loudness: Loudness) -> dict[str, object]:
        """Return the result's keys; what is not defined is absent."""
        values = {
            "integratedLufs": loudness.integrated,
            "maxMomentaryLufs": loudness.max_momentary,
            "maxShortTermLufs": loudness.max_short_term,
            "loudnessRangeLu": loudness.range_lu,
            "truePeakDbtp": to_db(self.peaks.true_peak) if self._true_peak else None,
            "samplePeakDbfs": to_db(self.peaks.sample_peak),
        }
        meter: dict[str, object] = {"truePeakMeter": METER_NAME} if self._true_peak else {}
        return {**{key: value for key, value in values.items() if value is not None}, **meter}


def warn_if_short(seconds: float, context: Context) -> None:
    """Tell that loudness needs 400 ms."""
    if seconds < 0.4:
        context.warn("tooShortForLoudness", "Loudness needs 0.4 s of audio.", duration=seconds)
