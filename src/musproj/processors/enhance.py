"""`enhance`: high-pass, noise reduction, loudness to a target, true-peak limiter; a version, verified before it is published."""

from collections.abc import Mapping

import attrs

from musproj.ports.processor import Context, InputFile, Outcome, Port, Processor, ProcessorSpec, service_need
from musproj.processors import auphonic
from musproj.processors._runs.enhance_params import EnhanceParams
from musproj.processors._runs.fields import memory_by_channels


def _given(params: EnhanceParams) -> ProcessorSpec:
    """Return the declaration of a run by a service."""
    if params.engine == "local":
        return SPEC
    task = auphonic.auphonic_task(params.for_auphonic)
    return attrs.evolve(auphonic.SPEC, name=SPEC.name, params=EnhanceParams, for_params=_given, task=task)


def _needs(params: EnhanceParams) -> tuple[str, ...]:
    return () if params.engine == "local" else (service_need(auphonic.SPEC.name),)


SPEC = ProcessorSpec(
    name="enhance",
    version="2",
    summary="High-pass, noise reduction, loudness to a target, true-peak limiter",
    params=EnhanceParams,
    inputs=(Port("input", "source"),),
    outputs=(Port("enhanced", "enhanced"),),
    publishes="version",
    moves_head=True,
    memory_mb=memory_by_channels(stereo=150, each_more=40),
    speed=35.0,
    preload=("numpy", "soundfile", "soxr", "musproj.processors._runs.enhance_run"),
    extra="audio",
    requires=("numpy", "soundfile", "soxr"),
    needs=_needs,
    for_params=_given,
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
        from musproj.processors._runs.enhance_run import run

        return run(inputs["input"], params, ctx)


enhance = Enhance()
