"""`resample`: another sample rate, in place and without aliases; a version that does not become the head."""

from collections.abc import Mapping

import attrs

from musproj.ports.processor import AudioInfo, Context, InputFile, Outcome, Port, Processor, ProcessorSpec
from musproj.processors._runs.resample_params import ResampleParams

_STEREO_MB = 70
_EXTRA_CHANNEL_MB = 8
_STEREO = 2


def _memory_mb(info: AudioInfo) -> int:
    """Return the declared peak; blocks and soxr's buffers grow with the channels."""
    return _STEREO_MB + _EXTRA_CHANNEL_MB * max(0, (info.channels or _STEREO) - _STEREO)


SPEC = ProcessorSpec(
    name="resample",
    version="1",
    summary="Another sample rate",
    params=ResampleParams,
    inputs=(Port("input", "source"),),
    outputs=(Port("resampled", "resampled"),),
    publishes="version",
    memory_mb=_memory_mb,
    speed=200.0,
    preload=("numpy", "soundfile", "soxr", "musproj.processors._runs.resample_run"),
    extra="audio",
    requires=("numpy", "soundfile", "soxr"),
)


@attrs.frozen
class Resample(Processor):
    """Converts by soxr, whose delay is taken out: the result is `round(frames x out / in)` long."""

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return SPEC

    def run(self, inputs: Mapping[str, InputFile], params: ResampleParams, ctx: Context) -> Outcome:
        """Write the input at another rate; at its own it is copied.

        Raises:
            ProcessingError: the input cannot be read, or the output not be written.
        """
        from musproj.processors._runs.resample_run import run

        return run(inputs["input"], params, ctx)


resample = Resample()
