"""What starting the program costs, as ratios to a bare interpreter, side by side.

    python benchmarks/startup.py [ROUNDS]

The rows below `typer` show what a command costs above Typer itself, which imports pydantic when it runs one.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 11
BUDGETS = {"import musproj": 5, "--version": 6, "--help": 10, "completion": 10, "jobs list": 20, "assets list": 20}
"""The figures to reach; a row that misses its own is marked, nothing fails."""

ONE_COMMAND = """
import typer
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
@app.command()
def one(a: str = "", b: bool = False, c: int = 0, d: str = "", e: bool = False): ...
app(["--a", "x"], standalone_mode=False)
"""


def rows() -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return each row's command line and what it adds to the environment."""
    python = sys.executable
    program = [python, "-c", "import sys; from musproj.cli import main; sys.exit(main(sys.argv[1:]))"]
    completing = {"_MUSPROJ_COMPLETE": "complete_bash", "COMP_WORDS": "musproj jo", "COMP_CWORD": "1"}
    return {
        "bare": ([python, "-c", "pass"], {}),
        "import musproj": ([python, "-c", "import musproj"], {}),
        "import attrs": ([python, "-c", "import attrs"], {}),
        "import typer": ([python, "-c", "import typer"], {}),
        "typer, one command": ([python, "-c", ONE_COMMAND], {}),
        "--version": ([*program, "--version"], {}),
        "--help": ([*program, "--help"], {}),
        "completion": (program, completing),
        "jobs list --help": ([*program, "jobs", "list", "--help"], {}),
        "jobs list": ([*program, "jobs", "list"], {}),
        "assets list": ([*program, "assets", "list"], {}),
        "assets list --json": ([*program, "assets", "list", "--json"], {}),
    }


def once(command: list[str], environ: dict[str, str], folder: Path) -> tuple[float, float]:
    """Return the seconds of one run: by the clock, and of the processor, which other programs do not lengthen."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL)  # noqa: S603 - made above
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} exited with {process.returncode}")
    return seconds, usage.ru_utime + usage.ru_stime


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    table = rows()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in table}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MUSPROJ_")}  # noqa: TID251 - handed on
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation has its bytecode
    with tempfile.TemporaryDirectory(prefix="musproj-startup-") as name:
        for _ in range(rounds + 1):
            for row, (command, added) in table.items():
                seconds[row].append(once(command, inherited | added, Path(name)))
    medians = {  # the first run fills caches
        row: [statistics.median(column) for column in zip(*found[1:], strict=True)] for row, found in seconds.items()
    }
    print(f"medians of {rounds} interleaved runs, ratios to a bare interpreter")
    for row, (wall, cpu) in medians.items():
        ratio = wall / medians["bare"][0]
        budget = BUDGETS.get(row)
        note = f"  ≤ {budget} ×{'' if ratio <= budget else '  MISSED'}" if budget else ""
        print(f"{row:<20}{wall * 1000:7.1f} ms {ratio:6.1f} ×   processor {cpu / medians['bare'][1]:6.1f} ×{note}")


if __name__ == "__main__":
    main()
