"""Without an optional library everything else works, and what needs it names the extra that brings it."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from musproj.registry import BUILT_IN, PROCESSORS, ProcessorCatalog

EXTRAS = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def run_without(libraries: set[str], program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter where importing any of `libraries` fails as if it were not installed."""
    hide = f"import sys; sys.modules.update(dict.fromkeys({sorted(libraries)!r}))\n"
    return subprocess.run([sys.executable, "-c", hide + program], check=False, capture_output=True, text=True)


def test_the_script_without_typer_prints_the_line_that_brings_it():
    result = run_without({"typer", "rich"}, "from musproj.cli import main; sys.exit(main())")

    assert result.returncode != 0
    assert "pip install 'musproj[cli]'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("library", ["starlette", "msgspec"])
def test_the_server_without_its_libraries_names_its_extra(library):
    program = (
        "from musproj.errors import MissingExtraError\n"
        "try:\n    import musproj.http.app\n"
        "except MissingExtraError as error:\n    print(error)"
    )

    result = run_without({library}, program)

    assert result.stdout.strip().endswith("pip install 'musproj[server]'"), result.stderr


def test_processors_are_listed_without_the_libraries_that_run_them():
    program = (
        "import json\nfrom musproj.registry import ProcessorCatalog\n"
        "catalog = ProcessorCatalog()\n"
        "print(json.dumps([[spec.name for spec in catalog.specs()], sorted(catalog.runnable())]))"
    )

    listed, runnable = json.loads(run_without({"numpy", "scipy", "soundfile", "soxr", "av", "httpx"}, program).stdout)

    assert set(listed) >= set(BUILT_IN[PROCESSORS])
    assert set(runnable) & set(BUILT_IN[PROCESSORS]) == {"chain"}, "it needs what its steps need"


@pytest.mark.parametrize("name", sorted(BUILT_IN[PROCESSORS]))
def test_a_processor_requires_what_its_extra_brings(name):
    spec = ProcessorCatalog().get(name).spec

    assert set(spec.requires) <= {line.partition(">")[0] for line in EXTRAS.get(spec.extra, ())}
