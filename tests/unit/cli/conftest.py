"""The program in this process, on an embedded installation in an empty folder."""

import json
import logging
import math
import shutil
import wave
from array import array

import attrs
import pytest

from musproj import DEFAULT_OWNER, MusProj, Settings
from musproj.cli import main

RATE = 16_000


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
    for name in ("MUSPROJ_DATA", "MUSPROJ_LOG", "PORT"):
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


def write_tone(path, *, seconds=1, hz=440.0, level=0.1):
    """Write a stereo tone, 16 bit, 16 kHz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = array("h")
    for frame in range(seconds * RATE):
        samples.extend([round(32_767 * level * math.sin(math.tau * hz * frame / RATE))] * 2)
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return path


@pytest.fixture
def tone(home):
    """Write a recording into the folder."""
    return lambda name="take.wav", **how: write_tone(home / name, **how)


@pytest.fixture(scope="session")
def _uploaded(tmp_path_factory):
    """A data folder with one asset in it, made once: looking at an upload starts a helper process."""
    data = tmp_path_factory.mktemp("uploaded") / "musproj-data"
    with MusProj.open(Settings(data=data)) as mp:
        asset = mp.uploads.put_file(DEFAULT_OWNER, write_tone(data.parent / "take.wav"))
    return data, asset.asset_id


@pytest.fixture
def asset(_uploaded, home):
    """Give the id of an asset that is there; the recording it was made from lies in the folder."""
    data, asset_id = _uploaded
    shutil.copytree(data, home / "musproj-data")
    shutil.copy(data.parent / "take.wav", home)
    return asset_id
