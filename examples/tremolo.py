"""A processor of your own in one file.

    musproj run examples.tremolo:tremolo voice.wav -o wobbly.wav -p rateHz=6

To have it found by name in every musproj process, put it into a package and declare the entry point

    [project.entry-points."musproj.processors"]
    tremolo = "your_package.tremolo:tremolo"

The block reader brings the limits, the check for NaN, progress and cancelling along.
"""

from collections.abc import Mapping
from typing import Any

import attrs
from attrs.validators import and_, ge, le

from musproj import Context, InputFile, Outcome, Port, ProcessorSpec


@attrs.frozen(kw_only=True)
class TremoloParams:
    rate_hz: float = attrs.field(
        default=5.0, validator=and_(ge(0.1), le(20.0)), metadata={"unit": "Hz", "description": "modulation rate"}
    )
    depth: float = attrs.field(
        default=0.5, validator=and_(ge(0.0), le(1.0)), metadata={"description": "0 is none, 1 down to silence"}
    )


class Tremolo:
    spec = ProcessorSpec(
        name="tremolo",
        version="1",
        summary="Make the volume swing.",
        params=TremoloParams,
        outputs=(Port("tremolo", "tremolo"),),
        moves_head=True,
        memory_mb=80,
        speed=300,
        extra="audio",
        requires=("numpy", "soundfile"),
        preload=("numpy", "soundfile"),
    )

    def run(self, inputs: Mapping[str, InputFile], params: Any, ctx: Context) -> Outcome:
        import numpy as np  # heavy imports live here: listing processors must not pay for them

        from musproj.processors import blocks

        out = ctx.workdir / "tremolo.wav"
        with blocks.reader(inputs["input"], ctx) as src, blocks.writer(out, like=src, subtype="PCM_24") as dst:
            w = 2 * np.pi * params.rate_hz / src.sample_rate
            for start, x in src:  # float32 (frames, channels), finite
                t = start + np.arange(len(x))
                dst.write(x * (1 - params.depth * (0.5 - 0.5 * np.cos(w * t)))[:, None].astype("f4"))
        return Outcome(files={"tremolo": out}, data={"rateHz": params.rate_hz})


tremolo = Tremolo()
