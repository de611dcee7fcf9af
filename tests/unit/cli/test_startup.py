"""What showing help must not load; running a command loads pydantic, which is Typer's own doing."""

import subprocess
import sys

import pytest

HEAVY = {
    "asyncio",
    "attr",
    "av",
    "boto3",
    "httpx",
    "msgspec",
    "numpy",
    "pydantic",
    "redis",
    "rich",
    "rq",
    "scipy",
    "soundfile",
    "soxr",
    "sqlite3",
    "starlette",
    "unittest.mock",
    "urllib3",
    "uvicorn",
}
RUN = "import sys; from musproj.cli import main; code = main(sys.argv[1:]); print(*sys.modules, file=sys.stderr); sys.exit(code)"


def loaded(monkeypatch, tmp_path, *words):
    """Return what a command line has loaded when it ends."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # measuring imports modules of its own
    monkeypatch.chdir(tmp_path)
    ran = subprocess.run([sys.executable, "-c", RUN, *words], check=True, capture_output=True, text=True)
    return set(ran.stderr.split())


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["jobs", "--help"]])
def test_help_loads_nothing_heavy(monkeypatch, tmp_path, words):
    assert HEAVY & loaded(monkeypatch, tmp_path, *words) == set()


def test_the_version_is_told_without_typer(monkeypatch, tmp_path):
    modules = loaded(monkeypatch, tmp_path, "--version")

    assert "typer" not in modules
    assert "musproj.errors" not in modules


def test_a_command_loads_no_audio_library_no_server_and_no_other_command(monkeypatch, tmp_path):
    modules = loaded(monkeypatch, tmp_path, "jobs", "list")

    assert (HEAVY - {"attr", "pydantic", "sqlite3", "asyncio"}) & modules == set()
    assert {"musproj.cli.serve", "musproj.cli.assets", "musproj.processors.probe"} & modules == set()


def test_listing_processors_loads_none_of_their_libraries(monkeypatch, tmp_path):
    assert {"numpy", "scipy", "soundfile", "soxr", "av"} & loaded(monkeypatch, tmp_path, "processors") == set()
