"""`normalize`: loudness to a target under a true-peak ceiling; a version, verified before it is published."""

from collections.abc import Mapping

import attrs

from musproj.ports.processor import Context, InputFile, Outcome, Port, Processor, ProcessorSpec
from musproj.processors._runs.fields import memory_by_channels
from musproj.processors._runs.normalize_params import NormalizeParams

SPEC = ProcessorSpec(
    name="normalize",
    version="1",
    summary="Loudness to a target, true-peak limiter",
    params=NormalizeParams,
    inputs=(Port("input", "source"),),
    outputs=(Port("normalized", "normalized"),),
    publishes="version",
    moves_head=True,
    memory_mb=memory_by_channels(stereo=110, each_more=15),
    speed=55.0,
    preload=("numpy", "soundfile", "soxr", "musproj.processors._runs.loudness_run"),
    extra="audio",
    requires=("numpy", "soundfile", "soxr"),
)


@attrs.frozen
class Normalize(Processor):
    """Brings the loudness to a target and changes nothing else, unless peaks have to be limited for it."""

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return SPEC

    def run(self, inputs: Mapping[str, InputFile], params: NormalizeParams, ctx: Context) -> Outcome:
        """Render the input as often as the target needs, and keep the best that holds the ceiling.

        Raises:
            AudioSilentError: nothing is loud enough to have a loudness.
            ProcessingError: the input cannot be read, or the output not be written.
        """
        from musproj.processors._runs.loudness_run import LoudnessRun

        return LoudnessRun(inputs["input"], params, ctx).outcome("normalized")


normalize = Normalize()
