"""Each audio processor beside what its user would pick instead: times realtime, peak memory, ratios.

Usage: python benchmarks/processors.py [MINUTES ...] [--only NAME ...] [--folder FOLDER]   3 and 60 minutes by default

Each figure is that of a fresh process on one thread, imports included; its peak memory is the kernel's. Peers are the
programs ffmpeg and sox and Python libraries, as far as installed, in turn with the processor. Trust the ratios: the
signal is synthetic music, 44.1 kHz, stereo, 16 bit, of which the limiter lowers a few percent. An hour takes 4 GB of
disk. Libraries that hold the whole file in memory are left out beyond ten minutes, pyloudnorm excepted.
"""

import argparse
import importlib.util
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
from collections.abc import Callable, Iterator, Mapping
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
import importlib, json, sys
from pathlib import Path
from musproj.ports.processor import InputFile
from musproj.testing.processors import RecordingContext
name, source, workdir, options = sys.argv[1:]
processor = getattr(importlib.import_module("musproj.processors." + name), name)
file = InputFile(path=Path(source), sha256="0" * 64)
inputs = {port.name: file for port in processor.spec.inputs}
outcome = processor.run(inputs, processor.spec.params(**json.loads(options)), RecordingContext(Path(workdir)))
print(json.dumps(dict(outcome.data)))
"""

PEERS = {
    "pyebur128": """
import sys, numpy as np, soundfile as sf, pyebur128 as e
with sf.SoundFile(sys.argv[1]) as f:
    state = e.R128State(f.channels, f.samplerate, e.MeasurementMode.MODE_I | e.MeasurementMode.MODE_TRUE_PEAK)
    for block in f.blocks(65536, dtype="float32"):
        state.add_frames(np.ascontiguousarray(block).reshape(-1), len(block))
print(e.get_loudness_global(state))
""",
    "pyloudnorm": """
import sys, soundfile as sf, pyloudnorm as pl
data, rate = sf.read(sys.argv[1])
print(pl.Meter(rate).integrated_loudness(data))
""",
    "pyloudnorm, normalised": """
import sys, soundfile as sf, pyloudnorm as pl
data, rate = sf.read(sys.argv[1])
data = pl.normalize.loudness(data, pl.Meter(rate).integrated_loudness(data), -16.0)
sf.write(sys.argv[2], data, rate, "PCM_24")
""",
    "noisereduce": """
import sys, soundfile as sf, noisereduce as nr
data, rate = sf.read(sys.argv[1], dtype="float32")
sf.write(sys.argv[2], nr.reduce_noise(y=data.T, sr=rate, stationary=True).T, rate, "PCM_24")
""",
    "scipy resample_poly": """
import sys, soundfile as sf
from scipy.signal import resample_poly
data, rate = sf.read(sys.argv[1], dtype="float32")
sf.write(sys.argv[2], resample_poly(data, 160, 147, axis=0), 48000, "PCM_24")
""",
}
"""What a user of Python would write."""
MODULES = {"pyebur128": "pyebur128", "noisereduce": "noisereduce", "scipy resample_poly": "scipy"}


@attrs.frozen
class Usage:
    """What one process took."""

    wall: float
    cpu: float
    rss_mib: float
    output: str


@attrs.frozen
class Contest:
    """A processor and those who do the like."""

    title: str
    mine: list[str]
    peers: dict[str, list[list[str]]]
    """Title → commands, one after the other."""


def main() -> None:
    """Measure, and print a table per length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", nargs="*", type=float, default=[3.0, 60.0])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--make", type=Path, help="only write the signal to this file")
    options = parser.parse_args()
    if options.make:
        make_music(options.make, options.minutes[0])
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for minutes in options.minutes:
            measure(Path(name), minutes, options.only)


def measure(folder: Path, minutes: float, only: list[str]) -> None:
    """Compare everything on one file."""
    source = folder / "music.wav"
    # A child inherits its parent's peak memory when it is forked: this process stays small.
    used([sys.executable, __file__, str(minutes), "--make", str(source)])
    rounds = 1 if minutes > LONG_MINUTES else ROUNDS
    print(f"\n{minutes:g} minutes, median of {rounds}")
    print(f"{'':34}{'x wall':>8}{'x cpu':>8}{'MiB':>7}   as fast as the peer")
    for contest in contests(source, folder, is_long=minutes > LONG_MINUTES):
        if not only or contest.title.split()[0] in only:
            compete(contest, rounds, minutes * 60)
    source.unlink()


def compete(contest: Contest, rounds: int, seconds: float) -> None:
    """Let them run in turn, and print a line for each."""
    mine: list[Usage] = []
    theirs: dict[str, list[Usage]] = {title: [] for title in contest.peers}
    for _ in range(rounds):
        mine.append(used(contest.mine))
        for title, commands in contest.peers.items():
            theirs[title].append(peer_used(commands))
    ours = median(mine)
    row(contest.title, ours, seconds, "")
    for title, runs in theirs.items():
        peer = median(runs)
        row(f"  {title}", peer, seconds, f"{peer.wall / ours.wall:6.2f}")
    if told := facts(ours.output):
        print("    " + told)


def contests(source: Path, folder: Path, *, is_long: bool) -> Iterator[Contest]:
    """Yield who meets whom."""
    out = str(folder / "peer.wav")
    programs = {name: shutil.which(name) for name in ("ffmpeg", "sox")}

    def peers(*wanted: tuple[str, list[list[str]]]) -> dict[str, list[list[str]]]:
        return {title: commands for title, commands in wanted if programs.get(title.split()[0], True)}

    def ffmpeg(*arguments: str) -> list[str]:
        return [*quiet("ffmpeg", source), *arguments]

    def python(*titles: str) -> list[tuple[str, list[list[str]]]]:
        fitting = [name for name in titles if has(name) and (not is_long or name in ("pyebur128", "pyloudnorm"))]
        return [(f"python {name}", [[sys.executable, "-c", PEERS[name], str(source), out]]) for name in fitting]

    def contest(title: str, mine: list[str], *against: tuple[str, list[list[str]]]) -> Contest:
        return Contest(title, mine, peers(*against))

    yield contest(
        "analyze",
        child("analyze", source, folder),
        ("ffmpeg ebur128=peak=true", [ffmpeg("-af", "ebur128=peak=true:framelog=verbose", "-f", "null", "-")]),
        *python("pyebur128", "pyloudnorm"),
    )
    yield contest(
        "analyze without true peak",
        child("analyze", source, folder, true_peak=False),
        ("ffmpeg ebur128", [ffmpeg("-af", "ebur128=framelog=verbose", "-f", "null", "-")]),
    )
    two_passes = ("ffmpeg loudnorm, two passes", loudnorm(ffmpeg, out))
    normalised = python("pyloudnorm, normalised")
    yield contest("normalize", child("normalize", source, folder, target_lufs=TARGET), two_passes, *normalised)
    yield contest(
        "normalize, no limiting", child("normalize", source, folder, target_lufs=-30.0), two_passes, *normalised
    )
    yield contest("enhance", child("enhance", source, folder, target_lufs=TARGET), two_passes)
    yield contest(
        "enhance without denoise", child("enhance", source, folder, target_lufs=TARGET, denoise_db=0.0), two_passes
    )
    pcm = ("-c:a", "pcm_s24le", "-y", out)
    yield contest(
        "denoise",
        child("denoise", source, folder),
        ("ffmpeg afftdn", [ffmpeg("-af", "afftdn=nr=20:nf=-35:tn=1", *pcm)]),
        *python("noisereduce"),
    )
    yield contest("loop", child("loop", source, folder))
    yield contest("separate", child("separate", source, folder))
    for kind, suffix, options in (
        ("flac", "flac", ()),
        ("mp3", "mp3", ("-b:a", "192k")),
        ("opus", "opus", ("-c:a", "libopus", "-b:a", "128k")),
        ("m4a", "m4a", ("-b:a", "128k")),
    ):
        target = str(folder / f"peer.{suffix}")
        yield contest(
            f"transcode to {kind}",
            child("transcode", source, folder, format=kind),
            (f"ffmpeg to {kind}", [ffmpeg(*options, "-y", target)]),
        )
    yield contest(
        "transcode to flac, not read back",
        child("transcode", source, folder, format="flac", verify=False),
        ("ffmpeg to flac", [ffmpeg("-y", str(folder / "peer.flac"))]),
    )
    yield contest(
        "resample to 48 kHz",
        child("resample", source, folder),
        ("ffmpeg swr", [ffmpeg("-ar", "48000", *pcm)]),
        ("sox rate -v", [["sox", str(source), "-b", "24", out, "rate", "-v", "48000"]]),
        *python("scipy resample_poly"),
    )
    yield contest(
        "trim",
        child("trim", source, folder, silence="both"),
        ("ffmpeg silenceremove", [ffmpeg("-af", "silenceremove=start_periods=1", *pcm)]),
    )
    yield contest("waveform", child("waveform", source, folder))
    yield contest(
        "mix",
        child("mix", source, folder),
        ("ffmpeg amix", [[*quiet("ffmpeg", source), "-i", str(source), "-filter_complex", "amix", *pcm]]),
    )
    yield contest("compare", child("compare", source, folder))


def loudnorm(ffmpeg: Callable[..., list[str]], out: str) -> list[list[str]]:
    """Return the two commands that ffmpeg needs for a linear loudness."""
    first = f"loudnorm=I={TARGET}:TP=-1:LRA=50"
    second = f"{first}:linear=true:measured_I=-17:measured_TP=0:measured_LRA=8:measured_thresh=-27"
    return [
        ffmpeg("-af", f"{first}:print_format=json", "-f", "null", "-"),
        ffmpeg("-af", second, "-ar", str(RATE), "-c:a", "pcm_s24le", "-y", out),
    ]


def has(peer: str) -> bool:
    """Tell whether the library of a peer is installed."""
    return importlib.util.find_spec(MODULES.get(peer, "pyloudnorm")) is not None


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
