"""The run of `waveform`: peaks to disk while reading, then the files that are made of them."""

from pathlib import Path

from musproj.ports.processor import Context, InputFile, Outcome
from musproj.processors import blocks
from musproj.processors._runs.waveform_files import write_dat, write_json
from musproj.processors._runs.waveform_params import WaveformParams
from musproj.processors._runs.waveform_peaks import PeakFile, pairs_of
from musproj.processors._runs.waveform_picture import draw
from musproj.processors.blocks import BLOCK_FRAMES

_READ_SHARE = 0.95


def run(source_file: InputFile, params: WaveformParams, ctx: Context) -> Outcome:
    """Do everything."""
    first, facts = _measure(source_file, params, ctx)
    levels = [first]
    for number in range(1, params.levels):
        ctx.check()
        levels.append(levels[-1].halved(ctx.workdir / f"level{number}"))
    files = {"peaks": ctx.workdir / f"peaks.{params.format}"}
    write = write_dat if params.format == "dat" else write_json
    channels = 1 if params.channels == "mix" else int(str(facts["channels"]))
    write(
        files["peaks"],
        levels,
        sample_rate=int(str(facts["sampleRate"])),
        spp=params.samples_per_pixel,
        bits=params.bits,
        channels=channels,
    )
    if params.picture:
        files["picture"] = ctx.workdir / "picture.png"
        draw(files["picture"], first)
    ctx.progress(1.0, "done")
    data = {
        **facts,
        "samplesPerPixel": params.samples_per_pixel,
        "bits": params.bits,
        "peakChannels": channels,
        "length": first.pairs,
        "levels": params.levels,
        "format": params.format,
        "bytes": files["peaks"].stat().st_size,
    }
    return Outcome(files=files, data=data)


def _measure(source_file: InputFile, params: WaveformParams, ctx: Context) -> tuple[PeakFile, dict[str, object]]:
    """Return the finest level and the facts of what was read."""
    spp, mix = params.samples_per_pixel, params.channels == "mix"
    is_integer = _is_integer(source_file.path)
    with blocks.reader(
        source_file,
        ctx,
        stage="peaks",
        share=(0.0, _READ_SHARE),
        dtype="int16" if is_integer else "float32",
        block_frames=max(1, BLOCK_FRAMES // spp) * spp,
        strict=params.strict,
        on_nonfinite=params.on_nonfinite,
    ) as source:
        with PeakFile(ctx.workdir / "level0", 1 if mix else source.channels) as peaks:
            for _, block in source:
                peaks.append(pairs_of(block, spp, mix=mix))
        return peaks, source.facts()


def _is_integer(path: Path) -> bool:
    with blocks.reader(path) as source:
        return source.is_integer
