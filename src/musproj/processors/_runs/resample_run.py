"""The run of `resample`."""

import zlib

from musproj.ports.processor import Context, InputFile, Outcome
from musproj.processors import blocks
from musproj.processors._dsp.resample import Resampler
from musproj.processors._runs.resample_params import ResampleParams


def run(source_file: InputFile, params: ResampleParams, ctx: Context) -> Outcome:
    """Read, convert and write block by block."""
    path = ctx.workdir / f"resampled.{params.format}"
    with blocks.reader(
        source_file, ctx, stage="resample", strict=params.strict, on_nonfinite=params.on_nonfinite
    ) as source:
        ratio = params.sample_rate / source.sample_rate
        resampler = Resampler(source.sample_rate, params.sample_rate, source.channels, params.quality)
        with blocks.writer(
            path,
            like=source,
            subtype=f"PCM_{params.bits}",
            sample_rate=params.sample_rate,
            frames=None if source.frames is None else round(source.frames * ratio),
            dither_seed=zlib.crc32(source_file.sha256.encode()) if params.dither == "tpdf" else None,
        ) as sink:
            for _, block in source:
                sink.write(resampler.feed(block))
            sink.write(resampler.finish())
        facts = source.facts()
    clipped = {"clippedSamples": sink.clipped_samples} if sink.clipped_samples else {}
    data = {
        **facts,
        "outputSampleRate": params.sample_rate,
        "outputFrames": sink.frames,
        "outputDuration": sink.frames / params.sample_rate,
        "quality": params.quality,
        **clipped,
    }
    return Outcome(files={"resampled": path}, data=data)
