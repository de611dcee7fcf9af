"""`trim`: cut by time or by silence, with short fades; a version that becomes the head."""

from collections.abc import Mapping

import attrs

from musproj.ports.processor import AudioInfo, Context, InputFile, Outcome, Port, Processor, ProcessorSpec
from musproj.processors._runs.trim_params import TrimParams

_BASE_MB = 60
_CHANNEL_MB = 8
_FADE_SECONDS = 10
_STEREO = 2


def _memory_mb(info: AudioInfo) -> int:
    """Return the declared peak: blocks, and the longest fade-out, which waits for the end."""
    channels = info.channels or _STEREO
    fade = _FADE_SECONDS * (info.sample_rate or 48_000) * channels * 4 // 2**20
    return _BASE_MB + _CHANNEL_MB * channels + fade


SPEC = ProcessorSpec(
    name="trim",
    version="1",
    summary="Cut by time or by silence, with fades",
    params=TrimParams,
    inputs=(Port("input", "source"),),
    outputs=(Port("trimmed", "trimmed"),),
    publishes="version",
    moves_head=True,
    memory_mb=_memory_mb,
    speed=200.0,
    preload=("numpy", "soundfile", "musproj.processors._runs.trim_run"),
    extra="audio",
    requires=("numpy", "soundfile"),
)


@attrs.frozen
class Trim(Processor):
    """Keeps a stretch of the input, bit by bit where nothing is faded."""

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return SPEC

    def run(self, inputs: Mapping[str, InputFile], params: TrimParams, ctx: Context) -> Outcome:
        """Find what to keep, and write it.

        Raises:
            InvalidParamsError: the times leave nothing.
            AudioSilentError: silence is to be cut, and there is nothing else.
            ProcessingError: the input cannot be read, or the output not be written.
        """
        from musproj.processors._runs.trim_run import Run

        return Run(inputs["input"], params, ctx).outcome()


trim = Trim()
