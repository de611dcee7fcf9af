"""Processors that misbehave in every way a worker must survive, and a few that do not.

They need no library: WAV is written by the standard one. `PROCESSORS` is what a worker under test is given.
"""

import ctypes
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
import wave
from array import array
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import attrs

from musproj.ports.processor import AudioInfo, Context, InputFile, Outcome, Port, ProcessorSpec

RATE = 8_000
"""Hz of every file made here."""
STEP_S = 0.01
HOG_BLOCK = 16 << 20
HOG_PAUSE_S = 0.02


@attrs.frozen(kw_only=True)
class TroubleParams:
    """What they all take."""

    seconds: float = 0.0
    """How long to work before the end."""
    seed: int = 0
    """What the output sounds like; also what tells otherwise identical jobs apart."""


Body = Callable[[Mapping[str, InputFile], TroubleParams, Context], Outcome]


@attrs.frozen
class Trouble:
    """A processor made of its spec and a function."""

    spec: ProcessorSpec
    body: Body

    def run(self, inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
        """Call the function."""
        return self.body(inputs, params, ctx)


def write_tone(path: Path, *, seconds: float = 0.25, seed: int = 0) -> Path:
    """Write a mono WAV whose pitch is given by `seed`, and return its path."""
    step = 0.05 + 0.001 * (seed % 1_000)
    samples = array("h", (round(8_000 * math.sin(step * n)) for n in range(round(RATE * seconds))))
    with wave.open(str(path), "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(RATE)
        target.writeframes(samples.tobytes())
    return path


def work(seconds: float, ctx: Context) -> None:
    """Pass `seconds` as a well-behaved processor does: it reports and looks up often."""
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < seconds:
        ctx.progress(passed / seconds, "working")
        time.sleep(STEP_S)
    ctx.check()


# ── the well-behaved ─────────────────────────────────────────────────────────────────────────────


def _copy(_inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    work(params.seconds, ctx)
    return Outcome(
        files={"copied": write_tone(ctx.workdir / "copied.wav", seed=params.seed)}, data={"seed": params.seed}
    )


def _stems(_inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    work(params.seconds, ctx)
    files = {
        name: write_tone(ctx.workdir / f"{name}.wav", seed=params.seed + n) for n, name in enumerate(("low", "high"))
    }
    return Outcome(files=files)


def _peaks(_inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    work(params.seconds, ctx)
    path = ctx.workdir / "peaks.json"
    path.write_text(json.dumps([params.seed] * 10), encoding="utf-8")
    return Outcome(files={"peaks": path})


def _look(inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    work(params.seconds, ctx)
    return Outcome(data={"bytes": inputs["input"].path.stat().st_size})


# ── the ill-behaved ──────────────────────────────────────────────────────────────────────────────


def _dice(_inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    """Make other bytes at each run: what it left behind can never be adopted."""
    work(params.seconds, ctx)
    seed = random.SystemRandom().randrange(1_000_000)
    return Outcome(files={"diced": write_tone(ctx.workdir / "diced.wav", seconds=0.25 + seed / 1e7, seed=seed)})


def _segfault(_inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    work(params.seconds, ctx)
    ctypes.string_at(0)
    raise AssertionError("reading address 0 went well")


def _exit(_inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    work(params.seconds, ctx)
    os._exit(3)


def _spin(_inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    """Never look up, and never let another thread run: one call into C."""
    work(params.seconds, ctx)
    return Outcome(data={"sum": sum(range(1 << 62))})


def _hog(_inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    work(params.seconds, ctx)
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1024)) * (HOG_BLOCK // 1024))
        time.sleep(HOG_PAUSE_S)


def _greedy(_inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    """Ask for more than any limit at once."""
    work(params.seconds, ctx)
    return Outcome(data={"length": len(bytearray(1 << 46))})


def _brood(_inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    """Start programs, one of them out of the process group, and wait for ever."""
    for is_apart in (False, True):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=is_apart)
    work(params.seconds or 3_600, ctx)
    return Outcome()


def _assassin(_inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    """Take the whole worker along."""
    work(params.seconds, ctx)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
    return Outcome()


def _garble(_inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    """Shout into every descriptor of the process, as code that took it over might."""
    work(params.seconds, ctx)
    for descriptor in range(3, 256):
        with suppress(OSError):
            os.write(descriptor, b"\xff" * 64)
    time.sleep(60)
    return Outcome()


def _raise(_inputs: Mapping[str, InputFile], params: TroubleParams, ctx: Context) -> Outcome:
    work(params.seconds, ctx)
    raise RuntimeError("no luck at https://user:hunter2@example.com/take.wav?X-Amz-Signature=abc\nsecond line")


def _nan(_inputs: Mapping[str, InputFile], _params: TroubleParams, _ctx: Context) -> Outcome:
    return Outcome(data={"lufs": float("nan")})


def _forger(inputs: Mapping[str, InputFile], _params: TroubleParams, ctx: Context) -> Outcome:
    """Give a file of somebody else out as its own."""
    path = ctx.workdir / "forged.wav"
    path.symlink_to(inputs["input"].path)
    return Outcome(files={"forged": path})


def _silent(_inputs: Mapping[str, InputFile], _params: TroubleParams, ctx: Context) -> Outcome:
    """Give an empty file out as a success."""
    path = ctx.workdir / "void.wav"
    path.touch()
    return Outcome(files={"void": path})


def _memory_mb(info: AudioInfo) -> int:
    return 1_000 * (info.channels or 1)


def _make(
    name: str,
    body: Body,
    output: str | None = None,
    *,
    timeout: float = 60.0,
    memory_mb: int | Callable[[AudioInfo], int] = 64,
) -> Trouble:
    return Trouble(
        ProcessorSpec(
            name=name,
            version="1",
            params=TroubleParams,
            outputs=(Port(output, output),) if output else (),
            publishes="version" if output else "result",
            timeout_seconds=timeout,
            memory_mb=memory_mb,
        ),
        body,
    )


STEMS = Trouble(
    ProcessorSpec(
        name="stems",
        version="1",
        params=TroubleParams,
        outputs=(Port("low", "low"), Port("high", "high")),
        memory_mb=64,
    ),
    _stems,
)
PEAKS = Trouble(
    ProcessorSpec(
        name="peaks",
        version="1",
        params=TroubleParams,
        outputs=(Port("peaks", "peaks", ("application/json",)),),
        publishes="attachment",
        memory_mb=64,
    ),
    _peaks,
)

PROCESSORS = (
    _make("copy", _copy, "copied"),
    STEMS,
    PEAKS,
    _make("look", _look),
    _make("dice", _dice, "diced"),
    _make("segfault", _segfault),
    _make("exit", _exit),
    _make("spin", _spin, timeout=1.0),
    _make("spin-long", _spin),
    _make("hog", _hog),
    _make("greedy", _greedy),
    _make("brood", _brood),
    _make("assassin", _assassin),
    _make("garble", _garble),
    _make("raise", _raise),
    _make("nan", _nan),
    _make("forger", _forger, "forged"),
    _make("silent", _silent, "void"),
    _make("bulky", _copy, "copied", memory_mb=1_000),
    _make("bulky-input", _copy, "copied", memory_mb=_memory_mb),
)
"""All of them, by the names under which jobs ask for them."""
