"""What imports what, and what importing musproj costs."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import musproj

ROOT = Path(__file__).parents[2]
PACKAGE = Path(musproj.__file__).parent
CORE = ("errors.py", "domain", "ports", "application")

HEAVY = {
    "asyncio",
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
    "starlette",
    "typer",
    "unittest.mock",
    "urllib3",
    "uvicorn",
}

DISTRIBUTIONS = {"attr": "attrs", "botocore": "boto3"}
"""Modules that are not called as the package that brings them."""


def test_importing_musproj_stays_light(monkeypatch):
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # measuring imports modules of its own
    program = "import sys, musproj; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()

    assert HEAVY & set(loaded) == set()


def test_imports_run_downwards_only():
    linter = Path(sys.executable).with_name("lint-imports")

    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("part", CORE)
def test_the_core_needs_attrs_alone(part):
    """The contract in pyproject.toml can forbid only what it names; this catches the library nobody thought of."""
    assert {root for file in sources(part) for root in third_party(file)} <= {"attrs"}


def test_every_library_is_declared_as_a_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = {name_of(line) for lines in (project["dependencies"], *extras.values()) for line in lines}
    optional_tools = {"pytest", "hypothesis"}  # musproj.testing is imported by test suites, which have them

    imported = {DISTRIBUTIONS.get(root, root) for file in sources(".") for root in third_party(file)}

    assert imported - optional_tools <= declared


def test_the_extra_all_holds_every_other_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    apart = {"all", "onnx"}  # a runtime for the user's own models is never brought along

    assert extras["all"] == [f"musproj[{','.join(name for name in extras if name not in apart)}]"]


def sources(part: str) -> list[Path]:
    path = PACKAGE / part
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def third_party(file: Path) -> set[str]:
    """Return the top-level names imported anywhere in a file that are neither ours nor the standard library's."""
    names = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{file}: relative import"
            names.add(node.module)
    return {name.partition(".")[0] for name in names} - {"musproj"} - sys.stdlib_module_names


def name_of(requirement: str) -> str:
    """Return the project's name at the head of a requirement line."""
    return requirement.partition("[")[0].partition(">")[0].partition("=")[0].strip()
