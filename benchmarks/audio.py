"""The audio processors beside ffmpeg: times realtime, peak memory, what an independent meter says.

Usage: python benchmarks/audio.py [MINUTES ...] [--folder FOLDER]      3 and 60 minutes by default

Each figure is that of a fresh process on one thread, imports included; its peak memory is the kernel's. Where the
program ffmpeg is installed it does the like in turn with each processor. Trust the ratios: the signal is synthetic
music, 44.1 kHz, stereo, 16 bit, of which the limiter lowers a few percent. An hour takes 3 GB of disk.
"""

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

import musproj

RATE = 44_100
TARGET = -16.0
ROUNDS = 3
"""Of which the median counts; one only beyond `LONG_MINUTES`."""
LONG_MINUTES = 10.0
PIECE_SECONDS = 60.0

CHILD = """
import importlib, json, sys, tempfile
from pathlib import Path
from musproj.ports.processor import InputFile
from musproj.testing.processors import RecordingContext
name, source, workdir, options = sys.argv[1:]
processor = getattr(importlib.import_module("musproj.processors." + name), name)
inputs = {"input": InputFile(path=Path(source), sha256="0" * 64)}
outcome = processor.run(inputs, processor.spec.params(**json.loads(options)), RecordingContext(Path(workdir)))
print(json.dumps(dict(outcome.data)))
"""


@attrs.frozen
class Usage:
    """What one process took."""

    wall: float
    cpu: float
    rss_mib: float
    output: str


def main() -> None:
    """Measure, and print a table per length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", nargs="*", type=float, default=[3.0, 60.0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--make", type=Path, help="only write the signal to this file")
    options = parser.parse_args()
    if options.make:
        make_music(options.make, options.minutes[0])
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for minutes in options.minutes:
            measure(Path(name), minutes)


def measure(folder: Path, minutes: float) -> None:
    """Compare everything on one file."""
    source = folder / "music.wav"
    # A child inherits its parent's peak memory when it is forked: this process stays small.
    used([sys.executable, __file__, str(minutes), "--make", str(source)])
    rounds = 1 if minutes > LONG_MINUTES else ROUNDS
    seconds = minutes * 60
    print(f"\n{minutes:g} minutes, median of {rounds}")
    print(f"{'':34}{'x wall':>8}{'x cpu':>8}{'MiB':>7}   ratio to ffmpeg (wall)")
    ffmpeg = shutil.which("ffmpeg")
    for title, mine, peer_title, peer in contests(source, folder, ffmpeg):
        runs: dict[str, list[Usage]] = {title: [], peer_title: []}
        for _ in range(rounds):
            runs[title].append(used(mine))
            if ffmpeg:
                runs[peer_title].append(peer_used(peer))
        ours, theirs = median(runs[title]), median(runs[peer_title]) if ffmpeg else None
        row(title, ours, seconds, f"{theirs.wall / ours.wall:6.2f}" if theirs else "")
        if theirs:
            row(peer_title, theirs, seconds, "")
        print("    " + facts(ours.output))
    source.unlink()


def contests(source: Path, folder: Path, ffmpeg: str | None) -> Iterator[tuple[str, list[str], str, list[list[str]]]]:
    """Yield title, command, the peer's title and its commands, one after the other."""
    ffmpeg = ffmpeg or "ffmpeg"
    yield (
        "analyze",
        child("analyze", source, folder),
        "ffmpeg ebur128=peak=true",
        [[*quiet(ffmpeg, source), "-af", "ebur128=peak=true:framelog=verbose", "-f", "null", "-"]],
    )
    yield (
        "analyze without true peak",
        child("analyze", source, folder, true_peak=False),
        "ffmpeg ebur128",
        [[*quiet(ffmpeg, source), "-af", "ebur128=framelog=verbose", "-f", "null", "-"]],
    )
    loudnorm = f"loudnorm=I={TARGET}:TP=-1:LRA=50"
    second = f"{loudnorm}:linear=true:measured_I=-17:measured_TP=0:measured_LRA=8:measured_thresh=-27"
    yield (
        "enhance",
        child("enhance", source, folder, target_lufs=TARGET),
        "ffmpeg loudnorm, two passes",
        [
            [*quiet(ffmpeg, source), "-af", f"{loudnorm}:print_format=json", "-f", "null", "-"],
            [*quiet(ffmpeg, source), "-af", second, "-ar", str(RATE), "-c:a", "pcm_s24le", "-y", str(folder / "f.wav")],
        ],
    )


def child(name: str, source: Path, folder: Path, **params: object) -> list[str]:
    """Return the command that runs a processor in a process of its own."""
    return [sys.executable, "-c", CHILD, name, str(source), str(folder), json.dumps(params)]


def quiet(ffmpeg: str, source: Path) -> list[str]:
    """Return the beginning of an ffmpeg command."""
    return [ffmpeg, "-nostdin", "-hide_banner", "-nostats", "-threads", "1", "-i", str(source)]


def used(command: list[str]) -> Usage:
    """Run `command` and return what it took; the child's own usage, as the kernel tells it when it ends."""
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(Path(musproj.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment) as process,  # noqa: S603 -- ours, or ffmpeg
    ):
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode:
        raise SystemExit(f"{command[0]} failed:\n{text[-2_000:]}")
    return Usage(wall, usage.ru_utime + usage.ru_stime, rss_mib(usage), text)


def rss_mib(usage: "resource.struct_rusage") -> float:
    """Return the peak in MiB; macOS tells bytes, Linux KiB."""
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def peer_used(commands: list[list[str]]) -> Usage:
    """Return what several commands took together."""
    parts = [used(command) for command in commands]
    return Usage(
        sum(part.wall for part in parts),
        sum(part.cpu for part in parts),
        max(part.rss_mib for part in parts),
        parts[-1].output,
    )


def median(runs: list[Usage]) -> Usage:
    """Return the run with the median wall time, and the largest memory of all."""
    wall = statistics.median_low(run.wall for run in runs)
    chosen = next(run for run in runs if run.wall == wall)
    return attrs.evolve(chosen, rss_mib=max(run.rss_mib for run in runs))


def row(title: str, usage: Usage, seconds: float, ratio: str) -> None:
    """Print one line."""
    print(f"{title:34}{seconds / usage.wall:8.0f}{seconds / usage.cpu:8.0f}{usage.rss_mib:7.0f}   {ratio}")


def facts(output: str) -> str:
    """Return the result's measures in a line."""
    match = re.search(r"^\{.*\}$", output, re.MULTILINE)
    data: Mapping[str, object] = json.loads(match[0]) if match else {}
    keys = ("integratedLufs", "outputLufs", "truePeakDbtp", "outputTruePeakDbtp", "limitedFraction", "passes")
    return "  ".join(f"{key} {round(float(str(data[key])), 3):g}" for key in keys if key in data)


def make_music(path: Path, minutes: float) -> None:
    """Write music whose level changes from piece to piece, so that gating and limiter have work."""
    import numpy as np

    from musproj.processors import blocks
    from musproj.testing import tones

    piece = tones.music(PIECE_SECONDS, RATE, peak_dbfs=0.0)
    left = round(minutes * 60 * RATE)
    with blocks.writer(path, sample_rate=RATE, channels=2, frames=left, subtype="PCM_16") as sink:
        number = 0
        while left > 0:
            gain = np.float32(10 ** (-(number * 5 % 12) / 20))
            for at in range(0, min(left, len(piece)), blocks.BLOCK_FRAMES):
                sink.write(piece[at : min(at + blocks.BLOCK_FRAMES, left, len(piece))] * gain)
            left -= len(piece)
            number += 1


if __name__ == "__main__":
    main()
