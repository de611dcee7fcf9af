"""What checks musproj: one command for developers and CI alike.

`nox` runs every session but `bench`. What follows `--` goes to pytest; a path among it takes the
place of the session's own folders: `nox -s tests -- tests/unit/domain -k job`.
"""

from pathlib import Path

import nox
from packaging.requirements import Requirement

nox.needs_version = ">=2025.2.9"
nox.options.error_on_external_run = True
nox.options.reuse_venv = "yes"

PROJECT = nox.project.load_toml("pyproject.toml")
PARALLEL = ("-n2", "--dist=worksteal")
"""Two processes, of which the one that is done takes from the other: some tests wait for half a minute."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""As in a worker: numpy's threads in each of several processes fight over the same cores."""
CORE = ("errors.py", "codec.py", "domain/*", "ports/*", "application/*")
CORE_FLOOR = 97
"""Percent of the core's lines and branches that tests run; the aim is 100, and the floor only rises."""


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, and the direction of imports."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": "src"})


@nox.session
def typing(session: nox.Session) -> None:
    """Two type checkers, strict."""
    session.install("-e", ".[all]", *group("typing"))
    session.run("mypy")
    session.run("pyright")


@nox.session
def tests(session: nox.Session) -> None:
    """Everything quick, against the built wheel."""
    session.install(".[all]", *group("test"))
    session.run("coverage", "erase")
    folders = ("tests/unit", "tests/contracts", "tests/integration", "tests/architecture")
    session.run("coverage", "run", "-m", "pytest", *PARALLEL, *chosen(session, *folders), env=ONE_THREAD)


@nox.session
def remote(session: nox.Session) -> None:
    """Work at outside services: crashed and disturbed at each call."""
    session.install(".[all]", *group("test"))
    session.run("coverage", "run", "-m", "pytest", *PARALLEL, *chosen(session, "tests/remote"), env=ONE_THREAD)


@nox.session
def minimal(session: nox.Session) -> None:
    """No extra: the embedded core works, and each error names the extra that is missing."""
    session.install(".", *group("bare"))
    stores = [
        f"tests/contracts/test_{store}.py" for store in ("memory", "local_metadata", "local_storage", "fake_multipart")
    ]
    core = ("tests/unit/domain", "tests/unit/application", *stores)
    package = [f"tests/architecture/test_{part}.py" for part in ("errors", "extras", "package", "strings")]
    session.run("pytest", *chosen(session, *core, *package), env=ONE_THREAD)


@nox.session
def lowest(session: nox.Session) -> None:
    """The oldest release of each direct dependency that pyproject.toml allows."""
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *(line for name in extras if name != "all" for line in extras[name])]
    constraints = Path(session.create_tmp(), "lowest.txt")
    constraints.write_text("\n".join(map(oldest, wanted)), encoding="utf-8")
    session.install(".[all]", *group("test"), "-c", str(constraints))
    folders = ("tests/unit", "tests/contracts", "tests/integration", "tests/e2e/worker_redis/test_stock_rq.py")
    session.run("pytest", *PARALLEL, *chosen(session, *folders), env=ONE_THREAD)


@nox.session(name="property")
def properties(session: nox.Session) -> None:
    """Laws and state machines, with many examples."""
    session.install(".[all]", *group("test"))
    session.run("pytest", *PARALLEL, "--hypothesis-profile=ci", *chosen(session, "tests/property"), env=ONE_THREAD)


@nox.session
def e2e(session: nox.Session) -> None:
    """Real processes, killed at each step."""
    session.install(".[all]", *group("test"))
    session.run("pytest", *PARALLEL, *chosen(session, "tests/e2e"), env=ONE_THREAD)


@nox.session
def api(session: nox.Session) -> None:
    """The server against its own OpenAPI document."""
    session.install(".[all]", *group("api"))
    session.run("pytest", *chosen(session, "tests/api"), env=ONE_THREAD)


@nox.session
def docs(session: nox.Session) -> None:
    """Every block of the README and the docs runs."""
    session.install(".[all]", *group("docs"))
    session.run("pytest", *PARALLEL, *chosen(session, "tests/docs"), env=ONE_THREAD)


@nox.session
def coverage(session: nox.Session) -> None:
    """What `tests` and `remote` ran of the package, and a floor for its core; tracing would slow `e2e` by half."""
    if session.posargs:
        session.skip("a part of the tests says nothing about the whole")
    session.install(*group("coverage"))
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")
    included = ",".join(f"src/musproj/{part}" for part in CORE)
    session.run("coverage", "report", "--format=total", f"--include={included}", f"--fail-under={CORE_FLOOR}")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Print ratios measured side by side; nothing passes or fails by time."""
    session.install(".[all]", *group("bench"))
    for script in sorted(Path("benchmarks").glob("[!_]*.py")):
        session.run("python", str(script), *session.posargs)


def group(name: str) -> tuple[str, ...]:
    """Return the requirements of a dependency group."""
    return nox.project.dependency_groups(PROJECT, name)


def chosen(session: nox.Session, *folders: str) -> tuple[str, ...]:
    """Return pytest's arguments: what was asked for on the command line, else `folders`."""
    asked = any(Path(argument.partition("::")[0]).exists() for argument in session.posargs)
    return (*(() if asked else folders), *session.posargs)


def oldest(line: str) -> str:
    """Return the requirement with its lower bound as the only release allowed."""
    requirement = Requirement(line)
    bounds = [clause.version for clause in requirement.specifier if clause.operator == ">="]
    if len(bounds) != 1:
        raise ValueError(f"{line!r} needs one lower bound")
    marker = f"; {requirement.marker}" if requirement.marker else ""
    return f"{requirement.name}=={bounds[0]}{marker}"
