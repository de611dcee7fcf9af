"""The run of `compare`: a pass that measures and aligns, one for the gain where wanted, one that subtracts."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import attrs
import numpy as np

from musproj.ports.processor import Context, InputFile, Outcome
from musproj.processors import blocks
from musproj.processors._dsp.correlate import CrossCorrelation
from musproj.processors._dsp.resample import resampled_frames
from musproj.processors._dsp.truepeak import to_db
from musproj.processors._formats.decoder import Block
from musproj.processors._runs.compare_params import CompareParams
from musproj.processors._runs.contexts import Quiet, Together
from musproj.processors._runs.measure import Measurement, planar
from musproj.processors._runs.pairing import check_channels, delayed, fitted, in_step, owned
from musproj.processors.blocks import BlockReader

_MAX_OFFSET_SECONDS = 1.0
_UNRELATED = 0.05
"""Below this correlation the files have nothing in common, and an offset would be made up."""
_MEASURED, _SCALED = 0.6, 0.75
"""Progress behind the first and the second pass."""


def run(source: InputFile, other: InputFile, params: CompareParams, ctx: Context) -> Outcome:
    """Do everything."""
    path = ctx.workdir / "difference.wav"
    facts = _Comparison(source, other, params, Together(ctx, ("input", "other"))).run(path)
    return Outcome(files={"difference": path}, data=facts)


@attrs.frozen(kw_only=True)
class _Measured:
    """What the first pass found."""

    frames: int
    """Of `input`."""
    other_frames: int
    """Of `other`, at the rate of `input`."""
    offset: int
    """Frames by which `other` is late."""
    alike: bool
    """Both have the same rate and channels."""
    facts: dict[str, object]

    @property
    def shared(self) -> tuple[int, int]:
        """The frames of `input` for which `other` has something."""
        begin = max(0, -self.offset)
        return begin, max(begin, min(self.frames, self.other_frames - self.offset))


@attrs.frozen
class _Comparison:
    source: InputFile
    other: InputFile
    params: CompareParams
    passes: Together

    def run(self, path: Path) -> dict[str, object]:
        measured = self._measure()
        gain = self._gain(measured) if self.params.match_gain else 1.0
        return {**measured.facts, **self._subtract(path, measured, gain)}

    def _measure(self) -> _Measured:
        with self._open((0.0, _MEASURED), "measure") as (one, other):
            check_channels(one, other)
            meters = [Measurement(source, dual_mono=self.params.dual_mono) for source in (one, other)]
            correlation = CrossCorrelation(one.channels, round(_MAX_OFFSET_SECONDS * one.sample_rate))
            ours, theirs = _metered(one, meters[0]), fitted(_metered(other, meters[1]), other, one)
            if self.params.align:
                # What is further behind the end of the shorter one than they may differ says nothing about both.
                for mine, matching in in_step(ours, theirs, one.channels, beyond=correlation.max_lag):
                    correlation.feed(planar(mine), planar(matching))
            for _ in chain(ours, theirs):
                pass  # the meters take the rest
            own, others = (meter.facts(meter.finish()) for meter in meters)
            offset, aligned = self._aligned(correlation) if self.params.align else (0, {})
            keys = ("integratedLufs", "truePeakDbtp", "loudnessRangeLu")
            told = {f"other{key[0].upper()}{key[1:]}": others[key] for key in keys if key in others}
            return _Measured(
                frames=one.frames_read,
                other_frames=resampled_frames(other.frames_read, other.sample_rate, one.sample_rate),
                offset=offset,
                alike=(one.sample_rate, one.channels) == (other.sample_rate, other.channels),
                facts={
                    **one.facts(),
                    **{key: own[key] for key in (*keys, "truePeakMeter") if key in own},
                    "otherDuration": other.frames_read / other.sample_rate,
                    **told,
                    "offsetSamples": offset,
                    **aligned,
                },
            )

    def _aligned(self, correlation: CrossCorrelation) -> tuple[int, dict[str, object]]:
        found = correlation.result()
        lag = found.lag
        if found.correlation is None:
            return 0, {}
        if abs(found.correlation) < _UNRELATED:
            lag = 0
            message = "The files have nothing in common within 1 s of each other; they are compared as they lie."
            self.passes.context.warn("notAligned", message, correlation=found.correlation)
        return lag, {"correlation": found.correlation}

    def _gain(self, measured: _Measured) -> float:
        """Return the factor for `other` that leaves the least, by least squares."""
        product = energy = 0.0
        with self._open((_MEASURED, _SCALED), "gain") as (one, other):
            for mine, theirs in _overlap(one, other, measured):
                product += float(np.einsum("fc,fc->", mine, theirs, dtype=np.float64))
                energy += float(np.einsum("fc,fc->", theirs, theirs, dtype=np.float64))
        return product / energy if product and energy else 1.0

    def _subtract(self, path: Path, measured: _Measured, gain: float) -> dict[str, object]:
        begin = _SCALED if self.params.match_gain else _MEASURED
        level, residual, highest = 0.0, 0.0, 0.0
        with (
            self._open((begin, 1.0), "subtract") as (one, other),
            blocks.writer(path, like=one, subtype="FLOAT") as sink,
        ):
            _write_silence(sink, measured.shared[0], one.channels, self.passes.context.check)
            for mine, theirs in _overlap(one, other, measured):
                difference = mine - theirs * np.float32(gain)
                level += float(np.einsum("fc,fc->", mine, mine, dtype=np.float64))
                residual += float(np.einsum("fc,fc->", difference, difference, dtype=np.float64))
                highest = max(highest, float(np.abs(difference).max(initial=0.0)))
                sink.write(difference)
            _write_silence(sink, measured.frames - measured.shared[1], one.channels, self.passes.context.check)
        first, last = measured.shared
        same_length = measured.frames == measured.other_frames == last - first
        values = {
            "gainDb": to_db(abs(gain)),
            "residualDb": to_db((residual / level) ** 0.5) if level else None,
            "differencePeakDbfs": to_db(highest),
        }
        return {
            "comparedDuration": (last - first) / one.sample_rate,
            "identical": measured.alike and same_length and not highest and gain == 1,
            **({"polarityInverted": True} if gain < 0 else {}),
            **{key: value for key, value in values.items() if value is not None},
        }

    @contextmanager
    def _open(self, share: tuple[float, float], stage: str) -> Generator[tuple[BlockReader, BlockReader]]:
        with (
            self._reader("input", self.source, share, stage) as one,
            self._reader("other", self.other, share, stage) as other,
        ):
            yield one, other

    def _reader(self, name: str, source: InputFile, share: tuple[float, float], stage: str) -> BlockReader:
        part = self.passes.part(name)
        return blocks.reader(
            source,
            part if share[0] == 0 else Quiet(part),
            is_repeat=share[0] > 0,
            stage=stage,
            share=share,
            strict=self.params.strict,
            on_nonfinite=self.params.on_nonfinite,
        )


def _metered(source: BlockReader, meter: Measurement) -> Iterator[Block]:
    for block in owned(source):
        meter.feed(planar(block))
        yield block


def _overlap(one: BlockReader, other: BlockReader, measured: _Measured) -> Iterator[tuple[Block, Block]]:
    """Yield the blocks of both where both have something, `other` moved to its place."""
    channels, offset = one.channels, measured.offset
    mine = delayed(owned(one), offset, channels)
    theirs = delayed(fitted(owned(other), other, one), -offset, channels)
    begin, end = measured.shared
    at = -max(0, offset)
    for first, second in in_step(mine, theirs, channels):
        low, high = max(begin - at, 0), min(end - at, len(first))
        if low < high:
            yield first[low:high], second[low:high]
        at += len(first)


def _write_silence(sink: blocks.BlockWriter, frames: int, channels: int, check: Callable[[], None]) -> None:
    for block in delayed((), frames, channels):
        check()
        sink.write(block)
