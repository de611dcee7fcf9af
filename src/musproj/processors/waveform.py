"""`waveform`: minimum and maximum over time, for drawing; attachments, no version."""

from collections.abc import Mapping

import attrs

from musproj.ports.processor import Context, InputFile, Outcome, Port, Processor, ProcessorSpec
from musproj.processors._runs.fields import memory_by_channels
from musproj.processors._runs.waveform_params import WaveformParams

SPEC = ProcessorSpec(
    name="waveform",
    version="1",
    summary="Peaks to draw the waveform from, and a picture of it",
    params=WaveformParams,
    inputs=(Port("input", "source"),),
    outputs=(
        Port("peaks", "peaks", ("application/*",)),
        Port("picture", "picture", ("image/png",), required=False),
    ),
    publishes="attachment",
    memory_mb=memory_by_channels(stereo=60, each_more=12),
    speed=500.0,
    preload=("numpy", "soundfile", "musproj.processors._runs.waveform_run"),
    extra="audio",
    requires=("numpy", "soundfile"),
)


@attrs.frozen
class Waveform(Processor):
    """Reads the input once; what it keeps is on disk, so that hours cost no more memory than minutes."""

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return SPEC

    def run(self, inputs: Mapping[str, InputFile], params: WaveformParams, ctx: Context) -> Outcome:
        """Write the peaks in audiowaveform's format, version 2, and the picture where it is wanted.

        Raises:
            ProcessingError: the input cannot be read.
        """
        from musproj.processors._runs.waveform_run import run

        return run(inputs["input"], params, ctx)


waveform = Waveform()
