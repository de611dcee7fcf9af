"""The run of `denoise`."""

from musproj.ports.processor import Context, InputFile, Outcome
from musproj.processors import blocks
from musproj.processors._formats.quantize import dither_seed
from musproj.processors._runs.denoise_params import DenoiseParams
from musproj.processors._runs.denoise_stage import DenoiseStage
from musproj.processors._runs.measure import planar
from musproj.processors._runs.stages import passed


def run(source: InputFile, params: DenoiseParams, ctx: Context) -> Outcome:
    """Do everything."""
    path = ctx.workdir / f"denoised.{params.format}"
    with blocks.reader(source, ctx, stage="denoise", strict=params.strict, on_nonfinite=params.on_nonfinite) as reader:
        denoise = DenoiseStage(
            reader.sample_rate,
            reader.channels,
            reduction_db=params.reduction_db,
            sensitivity=params.sensitivity,
            method=params.method,
        )
        seed = dither_seed(source, params.dither)
        with blocks.writer(path, like=reader, subtype=f"PCM_{params.bits}", dither_seed=seed) as sink:
            for samples in passed((planar(block) for _, block in reader), [denoise]):
                sink.write(samples.T)
        clipped = {"clippedSamples": sink.clipped_samples} if sink.clipped_samples else {}
        settings = {"reductionDb": params.reduction_db, "method": params.method}
        return Outcome(files={"denoised": path}, data={**reader.facts(), **settings, **denoise.facts(), **clipped})
