"""`loop`: a stretch that can be repeated without a seam; a version of its own kind."""

from collections.abc import Mapping

import attrs

from musproj.ports.processor import Context, InputFile, Outcome, Port, Processor, ProcessorSpec
from musproj.processors._runs.fields import memory_by_channels
from musproj.processors._runs.loop_params import LoopParams

SPEC = ProcessorSpec(
    name="loop",
    version="1",
    summary="A stretch that repeats without a seam, on the beat where there is one",
    params=LoopParams,
    inputs=(Port("input", "source"),),
    outputs=(Port("loop", "loop"),),
    publishes="version",
    memory_mb=memory_by_channels(stereo=140, each_more=12),
    speed=120.0,
    preload=("numpy", "soundfile", "soxr", "musproj.processors._runs.loop_run"),
    extra="audio",
    requires=("numpy", "soundfile", "soxr"),
)


@attrs.frozen
class Loop(Processor):
    """Finds where the sound comes back to what it was, and closes the circle there."""

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return SPEC

    def run(self, inputs: Mapping[str, InputFile], params: LoopParams, ctx: Context) -> Outcome:
        """Look through the whole file, then write the loop.

        Raises:
            LoopNotFoundError: nothing of the wanted length.
            ProcessingError: the input cannot be read, or the output not be written.
        """
        from musproj.processors._runs.loop_run import run

        return run(inputs["input"], params, ctx)


loop = Loop()
