"""The run of `mix`."""

from functools import partial

import numpy as np

from musproj.ports.processor import Context, InputFile, Outcome
from musproj.processors import blocks
from musproj.processors._formats.quantize import dither_seed
from musproj.processors._runs.contexts import Together
from musproj.processors._runs.mix_params import MixParams
from musproj.processors._runs.pairing import check_channels, delayed, fitted, in_step, owned

_OTHER_FRAMES = 8_192
"""At a time: another rate may make fifty times as many of them."""


def run(source: InputFile, other_source: InputFile, params: MixParams, ctx: Context) -> Outcome:
    """Add block by block."""
    path = ctx.workdir / f"mix.{params.format}"
    read = partial(blocks.reader, stage="mix", strict=params.strict, on_nonfinite=params.on_nonfinite)
    passes = Together(ctx, ("input", "other"))
    gain, other_gain = (np.float32(10 ** (db / 20)) for db in (params.gain_db, params.other_gain_db))
    with (
        read(source, passes.part("input")) as one,
        read(other_source, passes.part("other"), block_frames=_OTHER_FRAMES) as other,
    ):
        check_channels(one, other)
        offset = round(params.offset_seconds * one.sample_rate)
        first = delayed(owned(one), -offset, one.channels)
        second = delayed(fitted(owned(other), other, one), offset, one.channels)
        with blocks.writer(
            path, like=one, subtype=f"PCM_{params.bits}", dither_seed=dither_seed(source, params.dither)
        ) as sink:
            for mine, theirs in in_step(first, second, one.channels):
                ctx.check()  # silence before an offset comes from no reader, which would look
                sink.write(mine * gain + theirs * other_gain)
        clipped = {"clippedSamples": sink.clipped_samples} if sink.clipped_samples else {}
        data = {
            **one.facts(),
            "duration": sink.frames / one.sample_rate,
            "frames": sink.frames,
            "offsetFrames": offset,
            "inputDuration": one.frames_read / one.sample_rate,
            "otherDuration": other.frames_read / other.sample_rate,
            **clipped,
        }
    return Outcome(files={"mix": path}, data=data)
