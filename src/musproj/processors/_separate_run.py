"""The run of `separate`: vocals by segments, and the rest by subtraction."""

from collections.abc import Callable, Iterator

import numpy as np

from musproj.ports.processor import Context, InputFile, Outcome
from musproj.processors import blocks
from musproj.processors._decoder import Planar
from musproj.processors._dsp_vocals import VocalMask
from musproj.processors._measure import planar
from musproj.processors._segments import Segmented
from musproj.processors._separate_params import SeparateParams
from musproj.processors.blocks import BLOCK_FRAMES, BlockReader

_OVERLAP_SECONDS = 2.0
_PAIR = 2
"""The first two channels are the front left and right of every layout."""


def run(source_file: InputFile, params: SeparateParams, ctx: Context) -> Outcome:
    """Do everything."""
    files = {name: ctx.workdir / f"{name}.{params.format}" for name in ("vocals", "instrumental")}
    energies = np.zeros(2)
    with blocks.reader(
        source_file, ctx, stage="separate", strict=params.strict, on_nonfinite=params.on_nonfinite
    ) as source:
        if source.channels == 1:
            ctx.warn("monoSeparation", "A mono file has no centre; only what does not repeat is taken for vocals.")
        subtype = f"PCM_{params.bits}"
        with (
            blocks.writer(files["vocals"], like=source, subtype=subtype) as vocals_sink,
            blocks.writer(files["instrumental"], like=source, subtype=subtype) as rest_sink,
        ):
            for mix, vocals in _separated(source, params, ctx):
                energies += [float(np.einsum("cf,cf->", part, part)) for part in (vocals, mix)]
                vocals_sink.write(vocals.T)
                rest_sink.write((mix - vocals).T)
        facts = source.facts()
    clipped = vocals_sink.clipped_samples + rest_sink.clipped_samples
    data = {
        **facts,
        "mode": params.mode,
        "quality": "basic",
        "segmentSeconds": params.segment_seconds,
        **({"vocalsEnergyRatio": float(energies[0] / energies[1])} if energies[1] else {}),
        **({"clippedSamples": clipped} if clipped else {}),
    }
    return Outcome(files=files, data=data)


def _separated(source: BlockReader, params: SeparateParams, ctx: Context) -> Iterator[tuple[Planar, Planar]]:
    """Yield mix and vocals, both on the grid of the bits that are written, so that their difference is exact."""
    segments = Segmented(
        _estimate(source, params, ctx),
        source.channels,
        round(params.segment_seconds * source.sample_rate),
        round(_OVERLAP_SECONDS * source.sample_rate),
    )
    step = np.float32(2.0 ** (1 - params.bits))
    for _, block in source:
        for mix, vocals in segments.feed(planar(block)):
            yield from _on_grid(mix, vocals, step)
            del mix, vocals  # or they would live on while the next segment takes its memory
    for mix, vocals in segments.finish():
        yield from _on_grid(mix, vocals, step)
        del mix, vocals


def _estimate(source: BlockReader, params: SeparateParams, ctx: Context) -> Callable[[Planar], Planar]:
    """Return what estimates the vocals in all channels; those beside the front pair hold none."""
    mask = VocalMask(source.sample_rate, params.strength, ctx.check)

    def estimate(samples: Planar) -> Planar:
        vocals = np.zeros_like(samples)
        vocals[:_PAIR] = mask(samples[:_PAIR])
        return vocals

    return estimate


def _on_grid(mix: Planar, vocals: Planar, step: np.float32) -> Iterator[tuple[Planar, Planar]]:
    for at in range(0, mix.shape[1], BLOCK_FRAMES):
        parts = (signal[:, at : at + BLOCK_FRAMES] for signal in (mix, vocals))
        first, second = (np.rint(part / step) * step for part in parts)
        yield first, second
