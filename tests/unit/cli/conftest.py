"""The program in this process, on an embedded installation in an empty folder."""

import json
import logging
import math
import wave
from array import array

import attrs
import pytest

from musproj.cli import main


@attrs.frozen
class Ran:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one document on stdout."""
        return json.loads(self.out)

    @property
    def error(self):
        """The error of the one line on stderr."""
        (line,) = self.err.splitlines()
        return json.loads(line)["error"]

    @property
    def lines(self):
        return self.out.splitlines()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Be in an empty folder, with no settings but the defaults."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("MUSPROJ_DATA", "MUSPROJ_LOG", "PORT", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def cli(home, capsys):
    """Run a command line and give what it did."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def tone(home):
    """Write a recording: a tone of 1 s, stereo."""

    def write(name="take.wav", *, hz=440.0, level=0.1):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = array("h", [0, 0] * 16_000)
        for frame in range(16_000):
            samples[2 * frame] = samples[2 * frame + 1] = round(32_767 * level * math.sin(math.tau * hz * frame / 16_000))
        with wave.open(str(path), "wb") as file:
            file.setparams((2, 2, 16_000, 0, "NONE", ""))
            file.writeframes(samples.tobytes())
        return path

    return write


@pytest.fixture
def asset(cli, tone):
    """Upload a recording and give its id."""
    return cli("upload", tone(), "-q").out.strip()
