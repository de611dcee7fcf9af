"""`mix`: the sum of two files; a version of the first one's asset."""

from collections.abc import Mapping

import attrs

from musproj.ports.processor import Context, InputFile, Outcome, Port, Processor, ProcessorSpec
from musproj.processors._runs.fields import memory_by_channels
from musproj.processors._runs.mix_params import MixParams

SPEC = ProcessorSpec(
    name="mix",
    version="1",
    summary="The sum of two files",
    params=MixParams,
    inputs=(Port("input", "source"), Port("other", "source")),
    outputs=(Port("mix", "mix"),),
    publishes="version",
    memory_mb=memory_by_channels(stereo=80, each_more=12),
    speed=150.0,
    preload=("numpy", "soundfile", "soxr", "musproj.processors._runs.mix_run"),
    extra="audio",
    requires=("numpy", "soundfile", "soxr"),
)


@attrs.frozen
class Mix(Processor):
    """Adds `other` to `input`, at its rate and in its channels, as long as the longer of them lasts."""

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return SPEC

    def run(self, inputs: Mapping[str, InputFile], params: MixParams, ctx: Context) -> Outcome:
        """Write the sum.

        Raises:
            InvalidParamsError: the channels fit neither each other nor a mono file.
            ProcessingError: an input cannot be read, or the output not be written.
        """
        from musproj.processors._runs.mix_run import run

        return run(inputs["input"], inputs["other"], params, ctx)


mix = Mix()
