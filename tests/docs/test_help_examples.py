"""The examples that `--help` shows run as they are written, in a shell."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from musproj.cli.sound import make_recording
from musproj.cli.tree import COMMANDS, GROUPS, build

SCRIPTS = Path(sys.executable).parent
PRESET = '[podcast]\ntype = "enhance"\ndescription = "Speech"\nparams = { targetLufs = -18.0 }\n'
SETUP = """
set -e
asset=$(musproj upload take.wav -q)
musproj submit analyze "$asset" -q
musproj work --burst --isolation inline -q
musproj submit enhance "$asset" -q
"""
"""One asset, a job that succeeded and one that waits."""
PATIENCE = 30.0


def examples():
    for name in COMMANDS:
        parts = [group.typer_instance for group in build(name).registered_groups]
        for command in (command for part in parts for command in part.registered_commands):
            if name in GROUPS or command.name == name:
                lines = (command.epilog or "").splitlines()
                yield from (line.strip() for line in lines if line.startswith("  musproj"))


EXAMPLES = list(dict.fromkeys(examples()))
SERVING = [line for line in EXAMPLES if line.startswith("musproj serve")]


@pytest.fixture(scope="session")
def _made(tmp_path_factory):
    place = tmp_path_factory.mktemp("installation")
    make_recording(place / "take.wav")
    (place / "presets.toml").write_text(PRESET)
    ran = shell(SETUP, place)
    assert ran.returncode == 0, ran.stderr
    return place


@pytest.fixture
def installed(_made, folder):
    """The folder with a copy of an installation in it, and a preset."""
    shutil.copytree(_made, folder, dirs_exist_ok=True)
    return folder


def test_every_command_has_one():
    shown = {line.split()[1] for line in EXAMPLES}
    assert shown == set(COMMANDS)


@pytest.mark.parametrize("line", [line for line in EXAMPLES if line not in SERVING])
def test_it_runs(installed, line):
    if "recordings/" in line:
        (installed / "recordings").mkdir()
        (installed / "take.wav").rename(installed / "recordings/take.wav")
    if "--timeout" in line or "--wait" in line:  # somebody has to do the job
        line = f"musproj work -q & {line}; code=$?; kill $!; wait; exit $code"
    ready = "" if "undelete" not in line else 'musproj assets delete -q "$(musproj assets list -q)" > /dev/null; '

    ran = shell(ready + line, installed)

    assert (ran.returncode, ran.stderr.count("error[")) == (0, 0), ran.stderr


@pytest.mark.parametrize("line", SERVING)
def test_a_server_runs_until_it_is_stopped(installed, line, free_port):
    port = str(free_port)
    words = line.replace("8700", port).split()  # the port itself may be taken here
    running = subprocess.Popen(
        words,
        cwd=installed,
        env=environment(MUSPROJ_PORT=port),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        ready, _, _ = select.select([running.stdout], [], [], PATIENCE)
        first = running.stdout.readline() if ready else ""
        running.send_signal(signal.SIGTERM)
        _, complaint = running.communicate(timeout=PATIENCE)
    finally:
        running.kill()

    assert first == f"api\thttp://127.0.0.1:{port}\n"
    assert (running.returncode, "error" in complaint) == (0, False)


def shell(text, folder):
    command = ["sh", "-c", text]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            out, complaint = running.communicate(timeout=60)
        finally:  # also what it left in the background
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, running.returncode, out, complaint)


def environment(**more):
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MUSPROJ_")}  # noqa: TID251 - a child's
    return {**outside, "MUSPROJ_PRESETS": "presets.toml", "PATH": f"{SCRIPTS}:{outside['PATH']}", **more}
