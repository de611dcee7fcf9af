"""`denoise`: lowers steady noise, of the same length and place as what came in; a version."""

from collections.abc import Mapping

import attrs

from musproj.ports.processor import Context, InputFile, Outcome, Port, Processor, ProcessorSpec
from musproj.processors._runs.denoise_params import DenoiseParams
from musproj.processors._runs.fields import memory_by_channels

SPEC = ProcessorSpec(
    name="denoise",
    version="1",
    summary="Lowers steady noise such as hiss and hum",
    params=DenoiseParams,
    inputs=(Port("input", "source"),),
    outputs=(Port("denoised", "denoised"),),
    publishes="version",
    moves_head=True,
    memory_mb=memory_by_channels(stereo=140, each_more=30),
    speed=80.0,
    preload=("numpy", "soundfile", "musproj.processors._runs.denoise_run"),
    extra="audio",
    requires=("numpy", "soundfile"),
)


@attrs.frozen
class Denoise(Processor):
    """A spectral gate over a noise that is learnt from the quietest moments; nothing has to be trained or marked."""

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return SPEC

    def run(self, inputs: Mapping[str, InputFile], params: DenoiseParams, ctx: Context) -> Outcome:
        """Process the input once from front to back.

        Raises:
            ProcessingError: the input cannot be read, or the output not be written.
        """
        from musproj.processors._runs.denoise_run import run

        return run(inputs["input"], params, ctx)


denoise = Denoise()
