"""The command line as a user and a script run it: real processes, pipes, terminals and signals."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from musproj.cli.sound import make_recording

pytestmark = pytest.mark.timeout(120)

PATIENCE = 60.0
MUSPROJ = (sys.executable, "-m", "musproj")
ESCAPE = b"\x1b"


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MUSPROJ_")}  # noqa: TID251 - a child's
    return {**kept, "COLUMNS": "100", "TERM": "xterm-256color", **more}


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture
def musproj(folder):
    """Run a command line to its end."""

    def run(*words, stdin=None, **environ):
        return subprocess.run(
            [*MUSPROJ, *map(str, words)], cwd=folder, env=environment(**environ), check=False,
            input=stdin, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip

    return run


@pytest.fixture
def recording(folder):
    path = folder / "take.wav"
    make_recording(path)
    return path


@pytest.fixture
def worker(folder):
    process = subprocess.Popen(
        [*MUSPROJ, "work", "--concurrency", "1"], cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr.readline().startswith("ready ")
    yield process
    process.terminate()
    process.communicate(timeout=PATIENCE)


class Terminal:
    """A command whose stdin, stdout and stderr are a terminal."""

    def __init__(self, folder, *words, **environ):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*MUSPROJ, *words], cwd=folder, env=environment(**environ),
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.shown = b""

    def read_until(self, text):
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            assert self._read(1.0), self.shown

    def end(self):
        while self._read(PATIENCE):
            pass
        os.close(self.master)
        return self.process.wait(PATIENCE)

    def _read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            try:
                block = os.read(self.master, 65_536)
            except OSError:  # Linux tells so that the other side is closed
                return False
            self.shown += block
            return bool(block)
        return True


# ── the whole flow ───────────────────────────────────────────────────────────────────────────────


def test_the_demo_runs_in_an_empty_folder_and_leaves_nothing(musproj, folder):
    began = time.monotonic()
    shown = musproj("demo")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert time.monotonic() - began < PATIENCE
    for words in ("1 request", "2 put", "3 confirm   ready", "queued → ", "→ succeeded  v2", "5 download", "LUFS"):
        assert words in shown.stdout
    assert list(folder.iterdir()) == []


def test_the_demo_takes_a_recording_and_keeps_what_it_made(musproj, folder, recording):
    shown = json.loads(musproj("demo", recording, "--keep", "--json").stdout)

    assert [version["kind"] for version in shown["versions"]] == ["source", "enhanced"]
    assert shown["job"]["status"] == "succeeded"
    assert (folder / shown["path"]).read_bytes()[:4] == b"RIFF"
    assert musproj("assets", "list", "-q").stdout.strip() == shown["assetId"]


def test_submit_waits_for_the_end_and_tells_how_it_was(musproj, recording, worker):
    asset = musproj("upload", recording, "-q").stdout.strip()

    done = musproj("submit", "enhance", asset, "-p", "targetLufs=-18", "--wait", "--json")
    assert done.returncode == 0
    job = json.loads(done.stdout)
    assert (job["status"], job["createdVersion"], job["params"]["targetLufs"]) == ("succeeded", 2, -18.0)

    silence = recording.with_name("silence.wav")
    silence.write_bytes(recording.read_bytes()[:44] + bytes(recording.stat().st_size - 44))
    quiet = musproj("upload", silence, "-q").stdout.strip()
    failed = musproj("submit", "enhance", quiet, "--wait", "--json")
    assert failed.returncode == 7
    assert json.loads(failed.stdout)["error"]["code"] == "audio_silent"


def test_one_bad_file_in_a_folder_stops_no_other(musproj, folder, recording):
    takes = folder / "takes"
    takes.mkdir()
    for name in ("a.wav", "c.wav"):
        (takes / name).write_bytes(recording.read_bytes())
    (takes / "b.wav").write_bytes(b"no audio at all")
    (takes / "notes.txt").write_text("not looked at")

    shown = musproj("upload", "takes", "--json")

    assert shown.returncode == 6
    assert [asset["name"] for asset in json.loads(shown.stdout)["data"]] == ["a.wav", "c.wav"]
    (line,) = shown.stderr.splitlines()
    assert json.loads(line)["error"]["code"] == "not_audio"
    assert json.loads(line)["error"]["item"] == "takes/b.wav"


def test_what_one_command_prints_is_what_the_next_one_reads(musproj, recording, folder):
    for name in ("one.wav", "two.wav"):
        (folder / name).write_bytes(recording.read_bytes())
    listed = musproj("upload", "one.wav", "two.wav", "-q").stdout

    submitted = musproj("submit", "analyze", "-", "-q", stdin=listed)
    assert submitted.returncode == 0
    assert musproj("work", "--burst", "-q").returncode == 0

    shown = json.loads(musproj("jobs", "show", "-", "--json", stdin=submitted.stdout).stdout)
    assert [job["status"] for job in shown["data"]] == ["succeeded", "succeeded"]


# ── pipes ────────────────────────────────────────────────────────────────────────────────────────


def test_a_reader_that_goes_away_ends_it_quietly(folder, musproj, recording):
    musproj("upload", recording)
    listing = subprocess.Popen(
        [*MUSPROJ, "assets", "list", "--ndjson"], cwd=folder, env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    listing.stdout.close()

    assert listing.stderr.read() == b""
    assert listing.wait(PATIENCE) == 141
    listing.stderr.close()


def test_head_takes_the_first_of_many_jobs(folder, musproj, recording):
    asset = musproj("upload", recording, "-q").stdout.strip()
    musproj("submit", "analyze", "-", "--force", stdin=f"{asset}\n" * 50)
    line = f"{' '.join(MUSPROJ)} jobs list --ndjson --all | head -1"

    shown = subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environment(), check=False, capture_output=True, text=True
    )

    assert json.loads(shown.stdout)["schema"] == "musproj.job/1"
    assert (shown.returncode, shown.stderr) == (0, "")


def test_closed_standard_streams_harm_nothing(folder, musproj, recording):
    musproj("upload", recording)
    line = f"{' '.join(MUSPROJ)} assets list <&- >&- 2>&-"

    assert subprocess.run(["sh", "-c", line], cwd=folder, env=environment(), check=False).returncode == 0
    assert musproj("doctor", "--json").returncode == 0


# ── terminals and signals ────────────────────────────────────────────────────────────────────────


def test_a_terminal_shows_a_bar_while_a_job_runs_and_a_table_after_it(musproj, folder, recording, worker):
    asset = musproj("upload", recording, "-q").stdout.strip()
    terminal = Terminal(folder, "submit", "enhance", asset, "--wait")

    assert terminal.end() == 0
    assert ESCAPE in terminal.shown
    assert b"%" in terminal.shown
    assert b"succeeded" in terminal.shown


@pytest.mark.parametrize("quietly", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_a_terminal_that_wants_no_colour_gets_none(musproj, folder, recording, quietly):
    musproj("upload", recording)
    terminal = Terminal(folder, "assets", "list", **quietly)

    assert terminal.end() == 0
    assert b"[3" not in terminal.shown  # SGR 30-37: colours
    if "TERM" in quietly:
        assert ESCAPE not in terminal.shown


def test_ctrl_c_leaves_a_job_alone_and_tells_how_to_go_on(musproj, folder, recording):
    asset = musproj("upload", recording, "-q").stdout.strip()
    job = musproj("submit", "analyze", asset, "-q").stdout.strip()
    terminal = Terminal(folder, "jobs", "watch", job)
    terminal.read_until(b"queued")

    terminal.process.send_signal(signal.SIGINT)

    assert terminal.end() == 130
    assert f"musproj jobs watch {job}".encode() in terminal.shown
    assert b"Traceback" not in terminal.shown
    assert musproj("jobs", "show", job).stdout.splitlines()[2] == "status\tqueued"


def test_sigterm_is_told_by_the_exit_code(folder, musproj, recording):
    asset = musproj("upload", recording, "-q").stdout.strip()
    job = musproj("submit", "analyze", asset, "-q").stdout.strip()
    watching = subprocess.Popen(
        [*MUSPROJ, "jobs", "watch", job, "--ndjson"], cwd=folder, env=environment(), stdout=subprocess.PIPE
    )
    watching.stdout.readline()

    watching.terminate()

    assert watching.wait(PATIENCE) == 143
    watching.stdout.close()


def test_ctrl_c_ends_a_worker_well(folder):
    terminal = Terminal(folder, "work")
    terminal.read_until(b"ready ")

    os.killpg(terminal.process.pid, signal.SIGINT)

    assert terminal.end() == 0
    assert b"Traceback" not in terminal.shown


def test_ctrl_c_ends_api_and_worker_well(folder):
    terminal = Terminal(folder, "serve", "--port", "0")
    terminal.read_until(b"ready ")

    os.killpg(terminal.process.pid, signal.SIGINT)

    assert terminal.end() == 0
    assert b"Traceback" not in terminal.shown
    assert b"http://127.0.0.1:" in terminal.shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_the_commands(folder, shell):
    asked = {"_MUSPROJ_COMPLETE": f"complete_{shell}", "COMP_WORDS": "musproj do", "COMP_CWORD": "1",
             "_TYPER_COMPLETE_ARGS": "musproj do", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}  # fmt: skip

    shown = subprocess.run(
        [Path(sys.executable).with_name("musproj")],
        cwd=folder,
        env=environment(**asked),
        check=False,
        capture_output=True,
        text=True,
    )

    assert shown.stderr == ""
    assert "doctor" in shown.stdout
    assert "download" in shown.stdout
