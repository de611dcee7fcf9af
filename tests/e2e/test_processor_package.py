"""A processor in a package of its own, as the page on writing one says: installed, found, run, and held to the kit."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from musproj.testing import tones
from musproj.testing.processors import decode

ROOT = Path(__file__).parents[2]
PAGE = ROOT.joinpath("docs/howto/write-a-processor.md").read_text(encoding="utf-8")


def snippet(language):
    return re.search(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the package and install it into a folder of its own."""
    package, site = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "examples/tremolo.py", package / "musproj_tremolo.py")
    package.joinpath("pyproject.toml").write_text(snippet("toml"))
    package.joinpath("test_tremolo.py").write_text(snippet("python"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(site), str(package)], check=True, timeout=110)
    shutil.copy(package / "test_tremolo.py", site)
    return site


@pytest.fixture
def musproj(site, tmp_path, monkeypatch):
    """Give a function that runs the program where the package is installed."""
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("MUSPROJ_DATA", str(tmp_path / "data"))

    def run(*words):
        command = [sys.executable, "-m", "musproj", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def voice(tmp_path):
    return tones.write(tmp_path / "voice.wav", tones.music(2.0), 44_100, "PCM_16")


def test_it_is_found_listed_and_shown(musproj):
    names = musproj("processors", "-q").stdout.split()
    shown = json.loads(musproj("processors", "show", "tremolo", "--json").stdout)

    assert "tremolo" in names
    assert names == sorted(names)
    assert shown["params"]["properties"]["rateHz"]["x-unit"] == "Hz"


def test_its_parameters_are_checked(musproj, voice):
    wrong = musproj("run", "tremolo", voice, "-o", "out.wav", "-p", "depth=2", "--json")

    assert wrong.returncode == 2
    assert json.loads(wrong.stderr)["error"]["code"] == "invalid_params"


def test_it_runs_on_a_file_as_a_job_and_in_a_chain(musproj, voice, tmp_path):
    ran = musproj("run", "tremolo", voice, "-o", "out.wav", "-p", "depth=1", "--json")
    asset = musproj("upload", voice, "-q").stdout.strip()
    musproj("submit", "tremolo", asset)
    steps = '[{"type": "tremolo"}, {"type": "normalize"}]'
    musproj("submit", "chain", f"{asset}@1", "-p", f"steps={steps}")
    worked = musproj("work", "--burst")
    versions = json.loads(musproj("assets", "versions", asset, "--json").stdout)["data"]

    assert (ran.returncode, worked.returncode) == (0, 0)
    changed, plain = decode(tmp_path / "out.wav"), decode(voice)
    assert changed.shape == plain.shape
    assert np.abs(changed).mean() < 0.7 * np.abs(plain).mean()
    assert sorted(version["kind"] for version in versions) == ["normalized", "source", "tremolo"]


def test_it_passes_the_kit(site, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_tremolo.py"]
    kit = subprocess.run(command, cwd=site, capture_output=True, text=True, check=False)

    assert kit.returncode == 0, kit.stdout
    assert "skipped" not in kit.stdout
    assert int(re.search(r"(\d+) passed", kit.stdout)[1]) >= 30
