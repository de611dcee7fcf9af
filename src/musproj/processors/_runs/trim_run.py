"""The run of `trim`: look for sound where silence is to go, then copy what is left."""

import zlib
from pathlib import Path

import attrs

from musproj.errors import AudioSilentError, InvalidParamsError
from musproj.ports.processor import Context, InputFile, Outcome
from musproj.processors import blocks
from musproj.processors._runs.contexts import Quiet
from musproj.processors._runs.pcm_bits import chosen_bits, exact_type
from musproj.processors._runs.trim_fade import Fades
from musproj.processors._runs.trim_params import TrimParams, empty
from musproj.processors._runs.trim_silence import SoundFinder
from musproj.processors.blocks import BlockReader, BlockWriter, SampleType

_SEARCH_SHARE = 0.5


@attrs.frozen
class _Plan:
    """What the source's header and the parameters decide together."""

    rate: int
    total: int | None
    """Frames that the header tells; exact for PCM."""
    window: tuple[int, int | None]
    subtype: str
    dtype: SampleType
    fades: tuple[int, int]
    """Samples in and out."""


class Run:
    """One run; its steps share the parameters, the context and the work folder."""

    def __init__(self, source: InputFile, params: TrimParams, ctx: Context) -> None:
        """Take what the processor was given."""
        self._source = source
        self._params = params
        self._ctx = ctx

    def outcome(self) -> Outcome:
        """Do everything."""
        with blocks.reader(self._source) as look:
            plan = self._plan(look)
        begin = 0.0
        if self._params.silence != "off":
            plan = self._without_silence(plan)
            begin, self._ctx = _SEARCH_SHARE, Quiet(self._ctx)
        path = self._ctx.workdir / f"trimmed.{self._params.format}"
        with self._reader(plan, "trim", (begin, 1.0), plan.dtype) as source:
            with self._writer(path, plan, source) as sink:
                _copy(source, sink, plan.fades)
                if not sink.frames:
                    raise _nothing_at(plan.window[0])
            facts = source.facts()
        start, stop = plan.window[0], plan.window[0] + sink.frames
        total = _length(plan, start, sink.frames)
        behind = {} if total is None else {"removedTrailingSeconds": max(0, total - stop) / plan.rate}
        clipped = {"clippedSamples": sink.clipped_samples} if sink.clipped_samples else {}
        data = {**facts, "startSample": start, "endSample": stop, "removedLeadingSeconds": start / plan.rate}
        return Outcome(files={"trimmed": path}, data={**data, **behind, **clipped})

    def _plan(self, source: BlockReader) -> _Plan:
        params, rate = self._params, source.sample_rate
        bits = chosen_bits(params.bits, source, "flac" if params.format == "flac" else "pcm")
        fades = round(params.fade_in_ms * rate / 1_000), round(params.fade_out_ms * rate / 1_000)
        return _Plan(
            rate,
            source.frames,
            params.window(rate),
            "FLOAT" if bits == "float" else f"PCM_{bits}",
            "float32" if any(fades) else exact_type(source, bits),
            fades,
        )

    def _without_silence(self, plan: _Plan) -> _Plan:
        """Return the plan with a window without the silence at its ends.

        Raises:
            AudioSilentError: nothing reaches the threshold.
        """
        params = self._params
        with self._reader(plan, "search", (0.0, _SEARCH_SHARE), "float32") as source:
            finder = SoundFinder(plan.rate, source.channels, params.threshold_dbfs)
            for _, block in source:
                finder.feed(block)
            finder.finish()
            length = source.frames_read
        if not length:
            raise _nothing_at(plan.window[0])
        if finder.first is None:
            raise AudioSilentError(
                f"Nothing reaches {params.threshold_dbfs:g} dBFS", thresholdDbfs=params.threshold_dbfs
            )
        least, pad = (round(ms * plan.rate / 1_000) for ms in (params.min_silence_ms, params.pad_ms))
        start, stop = plan.window
        if params.silence in ("leading", "both") and finder.first >= least:
            start += max(0, finder.first - pad)
        if params.silence in ("trailing", "both") and length - finder.last >= least:
            stop = plan.window[0] + min(length, finder.last + pad)
        return attrs.evolve(plan, window=(start, stop), total=_length(plan, plan.window[0], length))

    def _reader(self, plan: _Plan, stage: str, share: tuple[float, float], dtype: SampleType) -> BlockReader:
        start, stop = plan.window
        return blocks.reader(
            self._source,
            self._ctx,
            stage=stage,
            share=share,
            dtype=dtype,
            start=start,
            stop=stop,
            strict=self._params.strict,
            on_nonfinite=self._params.on_nonfinite,
        )

    def _writer(self, path: Path, plan: _Plan, source: BlockReader) -> BlockWriter:
        dither = self._params.dither == "tpdf" and plan.dtype == "float32"
        seed = zlib.crc32(self._source.sha256.encode()) if dither else None
        return blocks.writer(path, like=source, subtype=plan.subtype, dither_seed=seed)


def _length(plan: _Plan, start: int, frames: int) -> int | None:
    """Return the input's frames: those found, where `frames` from `start` reached its end, else what the header tells."""
    stop = plan.window[1]
    return start + frames if stop is None or start + frames < stop else plan.total


def _nothing_at(sample: int) -> InvalidParamsError:
    return empty("start", f"the input has no sample {sample}")


def _copy(source: BlockReader, sink: BlockWriter, lengths: tuple[int, int]) -> None:
    if not any(lengths):
        for _, block in source:
            sink.write(block)
        return
    fades = Fades(*lengths)
    for _, block in source:
        for ready in fades.feed(block):
            sink.write(ready)
    for ready in fades.finish():
        sink.write(ready)
