"""`analyze`: loudness, true peak and levels of a file; a result, no version."""

from collections.abc import Mapping

import attrs

from musproj.ports.processor import Context, InputFile, Outcome, Port, Processor, ProcessorSpec
from musproj.processors._runs.fields import InputParams, flag, number

_CURVE_FLOOR_LUFS = -70.0
"""BS.1770's absolute gate: below it a curve says silence."""


@attrs.frozen(kw_only=True)
class AnalyzeParams(InputParams):
    """What to measure beside loudness."""

    true_peak: bool = flag("Measure the true peak; about a fifth of the time.", default=True)
    curves: bool = flag("Give the short-term loudness over time as `curve`.")
    curve_step: float = number(1.0, 0.1, 10.0, "s", "Distance of the curve's values.")
    dual_mono: bool = flag("Count a mono file twice, as played on two loudspeakers (+3.01 LU).")


SPEC = ProcessorSpec(
    name="analyze",
    version="1",
    summary="Loudness (EBU R 128), true peak and levels",
    params=AnalyzeParams,
    inputs=(Port("input", "source"),),
    publishes="result",
    memory_mb=120,
    speed=300.0,
    preload=("numpy", "soundfile", "musproj.processors._runs.measure"),
    extra="audio",
    requires=("numpy", "soundfile"),
)


@attrs.frozen
class Analyze(Processor):
    """Measures after ITU-R BS.1770-5 and EBU R 128 in memory that does not grow with the duration."""

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return SPEC

    def run(self, inputs: Mapping[str, InputFile], params: AnalyzeParams, ctx: Context) -> Outcome:
        """Measure the input once from front to back.

        Raises:
            ProcessingError: the input cannot be read.
        """
        from musproj.processors import blocks
        from musproj.processors._dsp.levels import LevelMeter
        from musproj.processors._runs.measure import Measurement, planar, warn_if_short

        with blocks.reader(
            inputs["input"], ctx, stage="analyze", strict=params.strict, on_nonfinite=params.on_nonfinite
        ) as source:
            measurement = Measurement(source, dual_mono=params.dual_mono, true_peak=params.true_peak)
            levels = LevelMeter(source.channels)
            for _, block in source:
                samples = planar(block)
                measurement.feed(samples)
                levels.feed(samples)
            loudness = measurement.finish()
            facts = source.facts()
            warn_if_short(source.frames_read / source.sample_rate, ctx)
            curve = measurement.loudness.short_term_curve(params.curve_step, _CURVE_FLOOR_LUFS) if params.curves else []
            data = {
                **measurement.facts(loudness),
                **facts,
                **levels.facts(source.sample_rate),
                "silent": loudness.integrated is None,
            }
        if params.curves:
            data["curve"] = {
                "start": 3.0,
                "step": params.curve_step,
                "floorLufs": _CURVE_FLOOR_LUFS,
                "shortTermLufs": curve,
            }
        return Outcome(data=data)


analyze = Analyze()
