"""`compare`: what differs between two files; an attachment of the first one's version."""

from collections.abc import Mapping

import attrs

from musproj.ports.processor import Context, InputFile, Outcome, Port, Processor, ProcessorSpec
from musproj.processors._runs.compare_params import CompareParams
from musproj.processors._runs.fields import memory_by_channels

SPEC = ProcessorSpec(
    name="compare",
    version="1",
    summary="The difference of two files, and the loudness of both",
    params=CompareParams,
    inputs=(Port("input", "source"), Port("other", "source")),
    outputs=(Port("difference", "difference"),),
    publishes="attachment",
    memory_mb=memory_by_channels(stereo=120, each_more=24),
    speed=60.0,
    preload=("numpy", "soundfile", "soxr", "musproj.processors._runs.compare_run"),
    extra="audio",
    requires=("numpy", "soundfile", "soxr"),
)


@attrs.frozen
class Compare(Processor):
    """Subtracts `other` from `input`: the null test."""

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return SPEC

    def run(self, inputs: Mapping[str, InputFile], params: CompareParams, ctx: Context) -> Outcome:
        """Measure both, align them where wanted, and write the difference.

        Raises:
            InvalidParamsError: the channels fit neither each other nor a mono file.
            ProcessingError: an input cannot be read, or the output not be written.
        """
        from musproj.processors._runs.compare_run import run

        return run(inputs["input"], inputs["other"], params, ctx)


compare = Compare()
