import io
import json
import logging
import math
import os
import shutil
import sys
import wave
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from musproj.cli import main

RATE = 8_000


class Result(NamedTuple):
    """What one command line came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err.splitlines()[-1])["error"]


Cli = Callable[..., Result]


def write_tone(path: Path, seconds: float = 1.0, peak: float = 0.1) -> Path:
    """Write a 16 bit mono WAV of 440 Hz."""
    count = round(seconds * RATE)
    samples = array("h", (round(32_767 * peak * math.sin(math.tau * 440 * n / RATE)) for n in range(count)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, with no setting but the defaults."""
    for name in os.environ:  # noqa: TID251 - to take ours away
        if name.startswith("MUSPROJ_") or name in ("PORT", "NO_COLOR", "TERM"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture(autouse=True)
def _log():
    """The command line configures logging, which belongs to pytest here."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before
    root.setLevel(level)


@pytest.fixture
def cli(capsys, monkeypatch) -> Cli:
    """Run a command line in this process."""

    def run(*words: object, stdin: str = "") -> Result:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def _made(tmp_path_factory):
    """An installation with one asset, a job that succeeded and one that waits."""
    place = tmp_path_factory.mktemp("installation")
    write_tone(place / "take.wav")
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for words in (
            ("upload", "take.wav", "-q"),
            ("submit", "analyze", "ASSET", "-q"),
            ("work", "--burst", "--isolation", "inline", "-q"),
            ("submit", "enhance", "ASSET", "-q"),
        ):
            asset = next(Path("musproj-data/objects/assets").iterdir()).name if "ASSET" in words else ""
            assert main([asset if word == "ASSET" else word for word in words]) == 0
    root.handlers[:], level = before
    root.setLevel(level)
    return place


@pytest.fixture
def installed(_made, folder, monkeypatch):
    """The folder with a copy of that installation in it, and a preset."""
    shutil.copytree(_made, folder, dirs_exist_ok=True)
    presets = folder / "presets.toml"
    presets.write_text('[podcast]\ntype = "enhance"\ndescription = "Speech"\nparams = { targetLufs = -18.0 }\n')
    monkeypatch.setenv("MUSPROJ_PRESETS", str(presets))
    return folder


@pytest.fixture
def asset(installed, cli):
    return cli("assets", "list", "-q").out.strip()


@pytest.fixture
def waiting_job(installed, cli):
    return cli("jobs", "list", "-q", "--status", "queued").out.strip()


@pytest.fixture
def done_job(installed, cli):
    return cli("jobs", "list", "-q", "--status", "succeeded").out.strip()


@pytest.fixture
def take(folder):
    return write_tone(folder / "take.wav")
