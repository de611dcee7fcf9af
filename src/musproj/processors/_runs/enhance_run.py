"""The run of `enhance`: high-pass and denoise in one pass, then loudness to the target."""

from collections.abc import Sequence

from musproj.ports.processor import Context, InputFile, Outcome
from musproj.processors._runs.denoise_stage import DenoiseStage
from musproj.processors._runs.enhance_params import EnhanceParams
from musproj.processors._runs.loudness_run import LoudnessRun
from musproj.processors._runs.stages import HighPass, Stage
from musproj.processors.blocks import BlockReader


def run(source: InputFile, params: EnhanceParams, ctx: Context) -> Outcome:
    """Do everything."""
    denoise: list[DenoiseStage] = []

    def stages(reader: BlockReader) -> Sequence[Stage]:
        if params.denoise_db:
            denoise.append(DenoiseStage(reader.sample_rate, reader.channels, reduction_db=params.denoise_db))
        rumble = [HighPass(reader, params.highpass_hz)] if params.highpass_hz else []
        return (*rumble, *denoise)

    outcome = LoudnessRun(source, params, ctx, stages).outcome("enhanced")
    facts = denoise[0].facts() if denoise else {}
    settings = {"highpassHz": params.highpass_hz, "denoiseDb": params.denoise_db}
    return Outcome(files=outcome.files, data={**outcome.data, **settings, **facts})
