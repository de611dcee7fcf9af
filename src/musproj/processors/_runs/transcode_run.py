"""The run of `transcode`: plan, copy or convert block by block, decode what was written."""

import zlib
from collections.abc import Iterator
from typing import Literal

import attrs
import numpy as np

from musproj.errors import EncodeUnsupportedError, OutputInvalidError
from musproj.ports.processor import Context, InputFile, Outcome
from musproj.processors import blocks
from musproj.processors._dsp.resample import Resampler
from musproj.processors._formats.decoder import Block
from musproj.processors._formats.tags import Tags
from musproj.processors._formats.tags_read import read_tags
from musproj.processors._runs.pcm_bits import bits_of, chosen_bits, exact_type
from musproj.processors._runs.transcode_fit import Fit, downmix, fit
from musproj.processors._runs.transcode_params import TranscodeParams
from musproj.processors.blocks import BlockReader, BlockWriter, SampleType

_ENCODE_SHARE = 0.7
"""Part of the progress, where decoding the result follows."""
_MAX_DRIFT = 4_096
"""Frames by which a codec with loss may lengthen or shorten: its delay and padding, at most four AAC frames."""
_SUBTYPES = {"mp3": "MPEG_LAYER_III", "vorbis": "VORBIS", "opus": "OPUS", "aac": "AAC"}
_EXTENSIONS = {"rf64": "wav"}


@attrs.frozen
class _Plan:
    """What is to be written, and how its samples get there."""

    subtype: str
    fit: Fit
    dtype: SampleType
    is_copy: bool
    """What is read is written unchanged, so that decoding must give it back."""
    is_exact: bool
    """And what is read is all that the source holds."""


class Run:
    """One run; its steps share the parameters, the context and the work folder."""

    def __init__(self, source: InputFile, params: TranscodeParams, ctx: Context) -> None:
        """Take what the processor was given."""
        self._source = source
        self._params = params
        self._ctx = ctx
        self._path = ctx.workdir / f"transcoded.{params.format}"
        self._crc = 0

    def outcome(self) -> Outcome:
        """Do everything."""
        params, ctx = self._params, self._ctx
        with blocks.reader(self._source) as look:
            plan = self._plan(look)
        tags = self._tags()
        end = _ENCODE_SHARE if params.verify else 1.0
        with (
            blocks.reader(
                self._source,
                ctx,
                stage="encode",
                share=(0.0, end),
                dtype=plan.dtype,
                strict=params.strict,
                on_nonfinite=params.on_nonfinite,
            ) as source,
            self._writer(plan, source, tags) as sink,
        ):
            for block in self._converted(plan, source):
                sink.write(block)
            facts = source.facts()
            is_exact = plan.is_exact and not source.non_finite_samples and not source.out_of_range_samples
        facts |= self._written_facts(plan, sink)
        if params.verify:
            facts |= {**self._verified(plan, sink.frames), "bitExact": is_exact}
        final = self._path.with_suffix("." + _EXTENSIONS.get(params.format, params.format))
        self._path.rename(final)
        ctx.progress(1.0, "done")
        return Outcome(files={"transcoded": final}, data=facts)

    def _plan(self, source: BlockReader) -> _Plan:
        params, codec = self._params, self._params.actual_codec
        wanted = fit(codec, source.sample_rate, source.channels, source.speakers)
        is_changed = wanted.downmix or wanted.sample_rate != source.sample_rate
        if is_changed and not params.auto_convert:
            raise EncodeUnsupportedError(
                f"{codec} takes no {source.channels} channels at {source.sample_rate} Hz",
                hint="autoConvert lets it be changed.",
                channels=source.channels,
                sampleRate=source.sample_rate,
            )
        if not params.is_lossless:
            return _Plan(_SUBTYPES[codec], wanted, "float32", is_copy=False, is_exact=False)
        bits = chosen_bits(params.bits, source, codec)
        dtype: SampleType = "float32" if is_changed else exact_type(source, bits)
        is_copy = dtype != "float32" or (bits == "float" and not is_changed)
        fits = dtype != "float32" or (bits_of(source) != 32 and source.info.bits != 64)  # float32 holds 24 bits
        return _Plan(_subtype(codec, bits), wanted, dtype, is_copy=is_copy, is_exact=is_copy and fits)

    def _tags(self) -> Tags:
        if not self._params.keep_tags:
            return Tags()
        kept, lost = read_tags(self._source.path).fitted(self._params.format)
        if lost:
            self._ctx.warn("tagsDropped", f"{self._params.format} does not get: {', '.join(lost)}.", tags=list(lost))
        return kept

    def _writer(self, plan: _Plan, source: BlockReader, tags: Tags) -> BlockWriter:
        dither = self._params.dither == "tpdf" and not plan.is_copy
        ratio = plan.fit.sample_rate / source.sample_rate
        return blocks.writer(
            self._path,
            like=source,
            subtype=plan.subtype,
            sample_rate=plan.fit.sample_rate,
            channels=2 if plan.fit.downmix else source.channels,
            frames=None if source.frames is None else round(source.frames * ratio),
            dither_seed=zlib.crc32(self._source.sha256.encode()) if dither else None,
            quality=self._params.quality,
            bitrate_kbps=self._params.bitrate_kbps,
            tags=tags,
        )

    def _converted(self, plan: _Plan, source: BlockReader) -> Iterator[Block]:
        """Yield what the writer gets; a copy's samples are remembered by their checksum."""
        matrix = self._downmix(plan, source)
        resampler = self._resampler(plan, source)
        for _, block in source:
            given: Block = block if matrix is None else block @ matrix
            if resampler is not None:
                given = resampler.feed(given)
            if plan.is_copy:
                self._crc = zlib.crc32(np.ascontiguousarray(given).data, self._crc)
            yield given
        if resampler is not None:
            yield resampler.finish()

    def _downmix(self, plan: _Plan, source: BlockReader) -> Block | None:
        if not plan.fit.downmix:
            return None
        matrix: Block = downmix(source.speakers or ())
        self._ctx.warn(
            "downmixedForCodec",
            f"{self._params.actual_codec} does not take these {source.channels} channels; there are 2 now.",
            channels=source.channels,
            gainDb=round(20 * float(np.log10(matrix.max())), 2),
        )
        return matrix

    def _resampler(self, plan: _Plan, source: BlockReader) -> Resampler | None:
        before, after = source.sample_rate, plan.fit.sample_rate
        if before == after:
            return None
        self._ctx.warn(
            "resampledForCodec",
            f"{self._params.actual_codec} does not take {before} Hz; there are {after} now.",
            sampleRate=before,
            outputSampleRate=after,
        )
        return Resampler(before, after, 2 if plan.fit.downmix else source.channels)

    def _written_facts(self, plan: _Plan, sink: BlockWriter) -> dict[str, object]:
        size = self._path.stat().st_size
        seconds = sink.frames / plan.fit.sample_rate
        return {
            "format": self._params.format,
            "codec": self._params.actual_codec,
            **_sample_facts(plan.subtype),
            "outputSampleRate": plan.fit.sample_rate,
            "outputBytes": size,
            **(
                {"bitrateKbps": round(size * 8 / seconds / 1_000, 1)}
                if seconds and not self._params.is_lossless
                else {}
            ),
            **({"clippedSamples": sink.clipped_samples} if sink.clipped_samples else {}),
        }

    def _verified(self, plan: _Plan, written: int) -> dict[str, object]:
        """Decode the result.

        Raises:
            OutputInvalidError: it is not as long as it must be, or a copy differs.
        """
        crc = 0
        with blocks.reader(
            self._path, self._ctx, stage="verify", share=(_ENCODE_SHARE, 1.0), dtype=plan.dtype
        ) as result:
            for _, block in result:
                if plan.is_copy:
                    crc = zlib.crc32(block.data, crc)
            frames, channels = result.frames_read, result.channels
        allowed = 0 if self._params.is_lossless else _MAX_DRIFT
        if abs(frames - written) > allowed or crc != self._crc:
            raise OutputInvalidError(f"{written} frames were written, and {frames} or other samples were read back")
        return {"outputFrames": frames, "outputChannels": channels}


def _subtype(codec: str, bits: int | Literal["float"]) -> str:
    if bits == "float":
        return "FLOAT"
    return f"ALAC_{bits}" if codec == "alac" else f"PCM_{bits}"


def _sample_facts(subtype: str) -> dict[str, object]:
    """Return the bits of what is written without loss."""
    if subtype == "FLOAT":
        return {"bits": "float"}
    kind, _, bits = subtype.partition("_")
    return {"bits": int(bits)} if kind in ("PCM", "ALAC") else {}
