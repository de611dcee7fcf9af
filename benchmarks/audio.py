"""Each processor at 3 and 60 minutes of stereo at 44.1 kHz, on one core, beside ffmpeg where it is installed.

Usage: python benchmarks/audio.py [MINUTES …]
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from musproj.ports.processor import Context, InputFile
from musproj.registry import ProcessorCatalog
from musproj.settings import use_one_thread

RATE = 44_100
ROUNDS = {3: 3}  # the median of so many; long files run once
CASES = {
    "analyze": ("analyze", {}),
    "analyze, no true peak": ("analyze", {"true_peak": False}),
    "enhance to -16 LUFS": ("enhance", {}),
    "enhance to -16 LUFS, FLAC": ("enhance", {"format": "flac"}),
    "enhance to -12 LUFS": ("enhance", {"target_lufs": -12.0}),
}
EBUR128 = ["-af", "ebur128=peak=true", "-f", "null", "-"]
LOUDNORM = "loudnorm=I=-16:TP=-1:LRA=11"


@attrs.frozen
class Run:
    wall: float
    cpu: float
    rss_mib: float
    note: str = ""


def main() -> None:
    use_one_core()  # which the children inherit
    minutes = [int(argument) for argument in sys.argv[1:]] or [3, 60]
    with tempfile.TemporaryDirectory() as folder:
        for length in minutes:
            path = Path(folder, f"{length}.wav")
            in_child("make", str(path), str(length))
            report(length, {name: repeated(length, path, *case) for name, case in CASES.items()}, peers(length, path))
            path.unlink()


def repeated(minutes: int, path: Path, name: str, params: dict[str, object]) -> Run:
    runs = [measured_child(path, name, params) for _ in range(ROUNDS.get(minutes, 1))]
    return attrs.evolve(
        runs[0], wall=statistics.median(r.wall for r in runs), cpu=statistics.median(r.cpu for r in runs)
    )


def measured_child(path: Path, name: str, params: dict[str, object]) -> Run:
    """Run a processor in a fresh process, whose start and imports count."""
    child, run = timed([sys.executable, __file__, "--child", "process", str(path), name, json.dumps(params)])
    return attrs.evolve(run, note=child.strip())


def in_child(*arguments: str) -> None:
    subprocess.run([sys.executable, __file__, "--child", *arguments], check=True)  # noqa: S603 -- this program


def timed(command: list[str]) -> tuple[str, Run]:
    """Run a program; the peak memory is that of this process alone (wait4)."""
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 -- as above, or ffmpeg
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    wall = time.perf_counter() - began
    return output, Run(
        wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    )


def use_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


# ── peers ──


def peers(minutes: int, path: Path) -> dict[str, Run]:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return {}
    base = [ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1", "-i", str(path)]
    rounds = ROUNDS.get(minutes, 1)
    meters = [timed([*base, *EBUR128])[1] for _ in range(rounds)]
    found = {"ffmpeg ebur128=peak=true": median(meters)}
    output = path.with_name("loudnorm.wav")
    twice = []
    for _ in range(rounds):
        first = timed([*base, "-af", LOUDNORM, "-f", "null", "-"])[1]
        # the second pass costs the same whatever was measured: what it is told only sets the gain
        told = f"{LOUDNORM}:measured_I=-20:measured_TP=-3:measured_LRA=5:measured_thresh=-31:linear=false"
        options = ["-af", told, "-ar", str(RATE), "-c:a", "pcm_s24le", "-y", str(output)]
        second = timed([*base, *options])[1]
        twice.append(Run(first.wall + second.wall, first.cpu + second.cpu, max(first.rss_mib, second.rss_mib)))
    output.unlink()
    return found | {"ffmpeg loudnorm, two passes": median(twice)}


def median(runs: list[Run]) -> Run:
    return Run(*(statistics.median(getattr(run, name) for run in runs) for name in ("wall", "cpu", "rss_mib")))


# ── report ──


def report(minutes: int, mine: dict[str, Run], others: dict[str, Run]) -> None:
    seconds = minutes * 60
    print(f"\n{f'{minutes} min, 44.1 kHz stereo':34} × wall    × cpu  RSS MiB  × peer")
    for name, run in (mine | others).items():
        peer = next((found for peer, found in others.items() if belongs(name, peer) and found is not run), None)
        ratio = f"{peer.cpu / run.cpu:7.2f}" if peer else " " * 7
        print(f"  {name:30} {seconds / run.wall:8.0f} {seconds / run.cpu:8.0f} {run.rss_mib:8.0f} {ratio}  {run.note}")


def belongs(name: str, peer: str) -> bool:
    return name.startswith("analyze") == ("ebur128" in peer)


# ── the child ──


def child(task: str, *arguments: str) -> None:
    use_one_thread()
    if task == "make":
        make(Path(arguments[0]), int(arguments[1]))
    else:
        print(process(Path(arguments[0]), arguments[1], json.loads(arguments[2])))


def make(path: Path, minutes: int) -> None:
    """Write music whose level changes from minute to minute."""
    import numpy as np

    from musproj.processors import blocks
    from musproj.testing import tones

    with blocks.writer(path, sample_rate=RATE, channels=2, subtype="PCM_16") as sink:
        minute = tones.music(60.0)
        for number in range(minutes):
            sink.write(minute * np.float32(0.5 + number * 7 % 10 / 20))


def process(path: Path, name: str, params: dict[str, object]) -> str:
    processor = ProcessorCatalog().get(name)
    with work_folder(path) as folder:
        source = InputFile(path=path, sha256="0" * 64)
        data = processor.run({"input": source}, processor.spec.params(**params), Quiet(folder)).data
    if name == "analyze":
        return f"I {data['integratedLufs']:.2f} LUFS"
    facts = f"I {data['outputLufs']:.2f} LUFS, TP {data['outputTruePeakDbtp']:.2f} dBTP, {data['passes']} passes"
    return f"{facts}, {100 * data['limitedFraction']:.1f} % limited"  # type: ignore[operator]


@contextlib.contextmanager
def work_folder(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        yield Path(folder)


@attrs.frozen
class Quiet(Context):
    workdir: Path

    def progress(self, fraction: float, stage: str | None = None) -> None: ...
    def check(self) -> None: ...
    def warn(self, code: str, message: str, **facts: object) -> None: ...


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
