"""`enhance`: high-pass, loudness to a target, true-peak limiter; a version, verified before it is published."""

from collections.abc import Mapping

import attrs

from musproj.ports.processor import AudioInfo, Context, InputFile, Outcome, Port, Processor, ProcessorSpec
from musproj.processors._enhance_params import EnhanceParams

_STEREO_MB = 110
_EXTRA_CHANNEL_MB = 15
_STEREO = 2


def _memory_mb(info: AudioInfo) -> int:
    """Return the declared peak; blocks and the limiter's buffers grow with the channels."""
    return _STEREO_MB + _EXTRA_CHANNEL_MB * max(0, (info.channels or _STEREO) - _STEREO)


SPEC = ProcessorSpec(
    name="enhance",
    version="1",
    summary="High-pass, loudness to a target, true-peak limiter",
    params=EnhanceParams,
    inputs=(Port("input", "source"),),
    outputs=(Port("enhanced", "enhanced"),),
    publishes="version",
    moves_head=True,
    memory_mb=_memory_mb,
    speed=55.0,
    preload=("numpy", "soundfile", "soxr", "musproj.processors._enhance_run"),
    extra="audio",
    requires=("numpy", "soundfile", "soxr"),
)


@attrs.frozen
class Enhance(Processor):
    """Makes speech and music even in loudness, of the same length and place as what came in."""

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return SPEC

    def run(self, inputs: Mapping[str, InputFile], params: EnhanceParams, ctx: Context) -> Outcome:
        """Render the input as often as the target needs, and keep the best that holds the ceiling.

        Raises:
            AudioSilentError: nothing is loud enough to have a loudness.
            ProcessingError: the input cannot be read, or the output not be written.
        """
        from musproj.processors._enhance_run import Run

        return Run(inputs["input"], params, ctx).outcome()


enhance = Enhance()
