"""`transcode`: another container or codec; a version that does not become the head."""

from collections.abc import Mapping

import attrs

from musproj.ports.processor import AudioInfo, Context, InputFile, Outcome, Port, Processor, ProcessorSpec
from musproj.processors._runs.transcode_params import TranscodeParams, needs

_STEREO_MB = 90
_EXTRA_CHANNEL_MB = 8
_STEREO = 2


def _memory_mb(info: AudioInfo) -> int:
    """Return the declared peak; blocks grow with the channels."""
    return _STEREO_MB + _EXTRA_CHANNEL_MB * max(0, (info.channels or _STEREO) - _STEREO)


SPEC = ProcessorSpec(
    name="transcode",
    version="1",
    summary="Another container or codec, with its tags",
    params=TranscodeParams,
    inputs=(Port("input", "source"),),
    outputs=(Port("transcoded", "transcoded"),),
    publishes="version",
    memory_mb=_memory_mb,
    speed=18.0,
    preload=("numpy", "soundfile", "musproj.processors._runs.transcode_run"),
    extra="audio",
    requires=("numpy", "soundfile", "soxr"),
    needs=needs,
)


@attrs.frozen
class Transcode(Processor):
    """Moves integers where it can, converts where it must, and reads back what it wrote."""

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return SPEC

    def run(self, inputs: Mapping[str, InputFile], params: TranscodeParams, ctx: Context) -> Outcome:
        """Write the input in another format.

        Raises:
            EncodeUnsupportedError: the codec cannot take the rate or the channels, and nothing may be converted.
            UnsupportedFormatError: M4A is asked for, and the extra `codecs` is not installed.
            ProcessingError: the input cannot be read, or the output not be written.
        """
        from musproj.processors._runs.transcode_run import Run

        return Run(inputs["input"], params, ctx).outcome()


transcode = Transcode()
