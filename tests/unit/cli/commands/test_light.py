"""What completion loads, and what the command line does without."""

import subprocess
import sys

import pytest

HEAVY = {
    "asyncio",
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
    "starlette",
    "unittest.mock",
    "urllib3",
    "uvicorn",
}
"""Each costs more than all of `--help`."""
OTHER_EXTRAS = ["av", "numpy", "scipy", "soundfile", "soxr", "starlette", "uvicorn", "uvloop", "httptools"]


def loaded(**environ):
    """Return the modules that completion leaves behind."""
    program = (
        "import sys\nfrom musproj.cli import main\n"
        "try:\n    main([])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", program], env=environ, check=True, capture_output=True, text=True)
    return set(ran.stderr.splitlines()[-1].split())


def test_completion_loads_nothing_heavy():
    asked = {"_MUSPROJ_COMPLETE": "complete_bash", "COMP_WORDS": "musproj jo", "COMP_CWORD": "1"}

    modules = loaded(**asked)

    assert "musproj.cli.jobs" in modules
    assert modules & HEAVY == set()


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("doctor",),
        ("assets", "list", "--json"),
        ("jobs", "list", "--json"),
        ("processors", "list", "--json"),
        ("upload", "take.wav", "--json"),
    ],
    ids=" ".join,
)
def test_the_extra_cli_alone_is_enough(take, words):
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({OTHER_EXTRAS!r}))\n"
        f"from musproj.cli import main; sys.exit(main({list(words)!r}))"
    )

    ran = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "extra"),
    [(("serve",), "server"), (("demo",), "audio"), (("run", "analyze", "take.wav"), "audio")],
    ids=str,
)
def test_what_needs_another_extra_names_it(take, words, extra):
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({OTHER_EXTRAS!r}))\n"
        f"from musproj.cli import main; sys.exit(main({list(words)!r}))"
    )

    ran = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert ran.returncode == 2
    assert f"pip install 'musproj[{extra}]'" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_ctrl_c_while_modules_are_imported_is_quiet(monkeypatch, cli):
    class Interrupting:
        def find_spec(self, name, path=None, target=None):
            if name == "musproj.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "musproj.cli.app", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])

    assert cli("jobs", "list") == (130, "", "")
