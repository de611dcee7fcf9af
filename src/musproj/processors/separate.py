"""`separate`: vocals and the rest of a mix; one version with two files."""

from collections.abc import Mapping

import attrs

from musproj.ports.processor import AudioInfo, Context, InputFile, Outcome, Port, Processor, ProcessorSpec, service_need
from musproj.processors import lalal
from musproj.processors._runs.lalal_params import LalalParams
from musproj.processors._runs.separate_params import SeparateParams

_MODEL_MB = 3_000
_MODEL_SPEED = 0.5
"""One core, as Demucs is; others are faster."""


def _given(params: SeparateParams) -> ProcessorSpec:
    """Return the declaration of a run by a service, or with a model, which takes what it takes."""
    if params.engine == "lalal":
        task = lalal.lalal_task(LalalParams(format=params.format))
        return attrs.evolve(lalal.SPEC, name=SPEC.name, params=SeparateParams, for_params=_given, task=task)
    if params.model is None:
        return SPEC
    return attrs.evolve(SPEC, memory_mb=_MODEL_MB, speed=_MODEL_SPEED, requires=(*SPEC.requires, "onnxruntime"))


def _needs(params: SeparateParams) -> tuple[str, ...]:
    if params.engine == "lalal":
        return (service_need(lalal.SPEC.name),)
    return () if params.model is None else ("onnx",)


def _memory_mb(info: AudioInfo) -> int:
    """Return what segments of 60 s take, whose spectra are in memory as a whole."""
    return 220 + round(0.006 * (info.sample_rate or 44_100)) + 20 * max(0, (info.channels or 2) - 2)


SPEC = ProcessorSpec(
    name="separate",
    version="1",
    summary="Vocals and instrumental, which add up to the mix",
    params=SeparateParams,
    inputs=(Port("input", "source"),),
    outputs=(Port("vocals", "vocals"), Port("instrumental", "instrumental")),
    publishes="version",
    memory_mb=_memory_mb,
    speed=20.0,
    preload=("numpy", "soundfile", "soxr", "musproj.processors._runs.separate_run"),
    extra="audio",
    requires=("numpy", "soundfile", "soxr"),
    needs=_needs,
    for_params=_given,
)


@attrs.frozen
class Separate(Processor):
    """Takes the vocals out of a mix, segment by segment; what is left is the instrumental."""

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return SPEC

    def run(self, inputs: Mapping[str, InputFile], params: SeparateParams, ctx: Context) -> Outcome:
        """Write both files, whose sum is the input sample for sample, at the bits that are written.

        Raises:
            ModelInvalidError: the model is not there, or is none.
            MissingExtraError: a model needs the extra `onnx`.
            ProcessingError: the input cannot be read, or the output not be written.
        """
        from musproj.processors._runs.separate_run import run

        return run(inputs["input"], params, ctx)


separate = Separate()
