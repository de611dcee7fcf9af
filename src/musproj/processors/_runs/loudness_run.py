"""Loudness to a target under a true-peak ceiling: measure, then gain, limit, write, read back, and again if need be.

What changes the sound before comes first, once, into a temporary file.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import numpy as np

from musproj.errors import AudioSilentError
from musproj.ports.processor import Context, InputFile, Outcome
from musproj.processors import blocks
from musproj.processors._dsp.limiter import MARGIN_DB, Limiter
from musproj.processors._dsp.loudness import Loudness, LoudnessMeter
from musproj.processors._dsp.predict import HopPeaks, gain_for_loudness
from musproj.processors._dsp.truepeak import to_db
from musproj.processors._dsp.verify import METER_NAME, StrictPeakMeter
from musproj.processors._formats.decoder import Block, Planar
from musproj.processors._formats.quantize import dither_seed
from musproj.processors._runs.loudness_params import LoudnessParams
from musproj.processors._runs.measure import Measurement, planar, weights_of
from musproj.processors._runs.stages import Stage, passed
from musproj.processors.blocks import BlockReader, BlockWriter

_FIRST_SHARE = 0.4
"""Part of the progress of decoding, filtering and measuring; the rounds share what is left, halving it."""
_NO_LIMITER_BELOW_DB = -1.0
"""So far below the ceiling the quick meter's word is enough (meters differ by up to 0.5 dB)."""
_OVERCORRECTION = 1.15
"""More gain means more limiting, which eats part of it."""
_REACHABLE_LU = 0.2
"""A larger miss is told as a warning."""


@attrs.frozen
class _Prepared:
    """The signal to be made louder and what is known of it."""

    path: Path
    loudness: float
    true_peak_db: float
    hop_energies: Block
    hop_peaks: Block


@attrs.frozen(kw_only=True)
class _Take:
    """One rendering and what an independent measurement of its file says."""

    path: Path
    gain_db: float
    loudness: Loudness
    true_peak_db: float
    limited_fraction: float
    reduction_db: float
    clipped: int

    @property
    def integrated(self) -> float:
        """LUFS; far below any target where nothing is left to measure."""
        return -math.inf if self.loudness.integrated is None else self.loudness.integrated


@attrs.define
class _Rounds:
    """Hands out the progress that is left, a part at a time."""

    at: float = _FIRST_SHARE

    def next(self, portion: float) -> tuple[float, float]:
        begin = self.at
        self.at = begin + (1.0 - begin) * portion
        return begin, self.at


Staging = Callable[[BlockReader], Sequence[Stage]]
"""Gives what a signal like that of the reader is to pass before its loudness is steered."""


class LoudnessRun:
    """One run; its steps share the parameters, the context and the work folder."""

    def __init__(self, source: InputFile, params: LoudnessParams, ctx: Context, stages: Staging = lambda _: ()) -> None:
        """Take what the processor was given."""
        self._source = source
        self._params = params
        self._ctx = ctx
        self._stages = stages
        self._rounds = _Rounds()
        self._facts: dict[str, object] = {}
        self._weights: tuple[float, ...] = ()

    def outcome(self, name: str) -> Outcome:
        """Do everything; the result is the file `name`."""
        prepared = self._prepare()
        best, passes = self._search(prepared)
        prepared.path.unlink()
        final = self._ctx.workdir / f"{name}.{self._params.format}"
        best.path.rename(final)
        self._ctx.progress(1.0, "done")
        return Outcome(files={name: final}, data=self._result(best, passes))

    def _prepare(self) -> _Prepared:
        """Decode, process and measure; the floats go to a temporary file, so that it happens once."""
        params = self._params
        with blocks.reader(
            self._source,
            self._ctx,
            stage="measure",
            share=(0.0, _FIRST_SHARE),
            strict=params.strict,
            on_nonfinite=params.on_nonfinite,
        ) as source:
            stages = self._stages(source)
            self._weights = weights_of(source, dual_mono=params.dual_mono)
            before = Measurement(source, dual_mono=params.dual_mono, keep_hops=not stages)
            after = Measurement(source, dual_mono=params.dual_mono, keep_hops=True) if stages else before
            hop_peaks = HopPeaks(source.sample_rate)
            path = self._ctx.workdir / "prepared.wav"
            with blocks.writer(path, like=source, subtype="FLOAT") as temporary:
                for samples in passed(_measured(source, before), stages):
                    if after is not before:
                        after.feed(samples)
                    hop_peaks.feed(samples)
                    temporary.write(samples.T)
            unprocessed = before.finish()
            processed = after.finish() if after is not before else unprocessed
            self._facts = source.facts() | {
                "inputLufs": unprocessed.integrated,
                "inputLoudnessRangeLu": unprocessed.range_lu,
                "inputTruePeakDbtp": to_db(before.peaks.true_peak),
            }
        if unprocessed.integrated is None or processed.integrated is None:
            raise AudioSilentError("Nothing reaches -70 LUFS for 0.4 s, so there is no loudness to bring to a target")
        return _Prepared(
            path,
            processed.integrated,
            20 * math.log10(after.peaks.true_peak),
            after.loudness.hop_energies(),
            hop_peaks.values(),
        )

    def _search(self, prepared: _Prepared) -> tuple[_Take, int]:
        """Render until target and ceiling are met; return the best rendering and how many there were."""
        params = self._params
        ceiling, target = params.true_peak_dbtp, params.target_lufs
        gain, highest = self._first_gain(prepared, ceiling)
        best: _Take | None = None
        passes = 0
        while True:
            take = self._render(prepared, gain, ceiling, passes)
            passes += 1
            best = self._better(best, take)
            miss = target - take.integrated
            over = take.true_peak_db - params.true_peak_dbtp
            can_improve = abs(miss) > params.tolerance_lu and (miss < 0 or gain < highest)
            if (over <= 0 and not can_improve) or passes == params.max_passes:
                break
            if over > 0 and params.mode == "peakSafe":
                gain = highest = gain - over - MARGIN_DB
            elif over > 0:
                ceiling -= over + MARGIN_DB
            if can_improve:
                gain = min(highest, gain + _OVERCORRECTION * miss)
        self._warn_of_misses(best)
        return best, passes

    def _first_gain(self, prepared: _Prepared, ceiling: float) -> tuple[float, float]:
        """Return the gain of the first round, and the highest that may be tried."""
        plain = self._params.target_lufs - prepared.loudness
        headroom = ceiling - MARGIN_DB - prepared.true_peak_db
        if self._params.mode == "peakSafe":
            gain = min(plain, headroom)
            return gain, gain
        highest = headroom + self._params.max_reduction_db
        if plain <= headroom:
            return plain, highest
        gain = gain_for_loudness(
            prepared.hop_energies,
            prepared.hop_peaks,
            target_lufs=self._params.target_lufs,
            ceiling_db=ceiling - MARGIN_DB,
            release_db_per_second=self._params.release_db_per_second,
            lowest_db=min(plain, highest),
            highest_db=highest,
        )
        return gain, highest

    def _render(self, prepared: _Prepared, gain_db: float, ceiling: float, number: int) -> _Take:
        """Write one rendering and measure its file."""
        params = self._params
        path = self._ctx.workdir / f"take{number}.{params.format}"
        seed = dither_seed(self._source, params.dither)
        gain = np.float32(10 ** (gain_db / 20))
        with blocks.reader(prepared.path, self._ctx, stage="render", share=self._rounds.next(0.5)) as source:
            limiter = None
            if prepared.true_peak_db + gain_db > ceiling + _NO_LIMITER_BELOW_DB and params.mode == "limit":
                limiter = Limiter(
                    source.sample_rate,
                    source.channels,
                    ceiling_db=ceiling,
                    lookahead_ms=params.lookahead_ms,
                    release_db_per_second=params.release_db_per_second,
                )
            with blocks.writer(path, like=source, subtype=f"PCM_{params.bits}", dither_seed=seed) as sink:
                _render_blocks(source, gain, limiter, sink)
            clipped = sink.clipped_samples
            frames = source.frames_read
        loudness, peak = self._verify(path, ceiling)
        return _Take(
            path=path,
            gain_db=gain_db,
            loudness=loudness,
            true_peak_db=peak,
            limited_fraction=limiter.limited / frames if limiter else 0.0,
            reduction_db=limiter.max_reduction_db if limiter else 0.0,
            clipped=clipped,
        )

    def _verify(self, path: Path, ceiling: float) -> tuple[Loudness, float]:
        """Measure a written file with fresh meters; the peak by a filter that the limiter does not know."""
        with blocks.reader(path, self._ctx, stage="verify", share=self._rounds.next(0.5)) as written:
            loudness = LoudnessMeter(written.sample_rate, self._weights)
            peak = StrictPeakMeter(written.sample_rate, written.channels, ceiling)
            for _, block in written:
                samples = planar(block)
                loudness.feed(samples)
                peak.feed(samples)
        peak.finish()
        return loudness.result(), to_db(peak.peak) or -math.inf

    def _better(self, best: _Take | None, take: _Take) -> _Take:
        """Keep the rendering that holds the ceiling, then the one nearer to the target; remove the other's file."""

        def badness(candidate: _Take) -> tuple[float, float]:
            over = max(0.0, candidate.true_peak_db - self._params.true_peak_dbtp)
            return over, abs(candidate.integrated - self._params.target_lufs)

        if best is None:
            return take
        keep, drop = (take, best) if badness(take) < badness(best) else (best, take)
        drop.path.unlink()
        return keep

    def _warn_of_misses(self, best: _Take) -> None:
        params = self._params
        over = best.true_peak_db - params.true_peak_dbtp
        if abs(best.integrated - params.target_lufs) <= max(_REACHABLE_LU, params.tolerance_lu) and over <= 0:
            return
        facts = {"targetLufs": params.target_lufs, "truePeakDbtp": best.true_peak_db}
        if math.isfinite(best.integrated):
            facts["outputLufs"] = best.integrated
        self._ctx.warn("targetNotReached", "The ceiling or the allowed reduction kept the target from reach.", **facts)

    def _result(self, best: _Take, passes: int) -> dict[str, object]:
        values: dict[str, object] = self._facts | {
            "outputLufs": best.loudness.integrated,
            "outputLoudnessRangeLu": best.loudness.range_lu,
            "outputTruePeakDbtp": best.true_peak_db if math.isfinite(best.true_peak_db) else None,
            "gainDb": best.gain_db,
            "limitedFraction": best.limited_fraction,
            "maxReductionDb": best.reduction_db,
            "passes": passes,
            "truePeakMeter": METER_NAME,
            "targetLufs": self._params.target_lufs,
            "clippedSamples": best.clipped or None,
        }
        return {key: value for key, value in values.items() if value is not None}


def _measured(source: BlockReader, meter: Measurement) -> Iterator[Planar]:
    for _, block in source:
        samples = planar(block)
        meter.feed(samples)
        yield samples


def _render_blocks(source: BlockReader, gain: np.float32, limiter: Limiter | None, sink: BlockWriter) -> None:
    for samples in _limited((planar(block) * gain for _, block in source), limiter):
        sink.write(samples.T)


def _limited(signal: Iterator[Planar], limiter: Limiter | None) -> Iterator[Planar]:
    if limiter is None:
        yield from signal
        return
    for samples in signal:
        yield limiter.feed(samples)
    yield limiter.finish()
