"""What happens in a job's process, from its first line to its last message."""

import ctypes
import gc
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import attrs

from musproj.application.execution import Execution, classify
from musproj.domain.job import Job
from musproj.domain.ledger import Failure
from musproj.errors import JobCancelledError
from musproj.ports.processor import AudioInfo, AudioProbe
from musproj.processors.limits import Limits
from musproj.processors.probe import probe_file
from musproj.settings import confine
from musproj.worker import memory
from musproj.worker.board import Board, BoardPulse
from musproj.worker.line import Failed, LineAccounts, ParentLine, Stopped
from musproj.worker.needs import Versions
from musproj.worker.workdirs import TEMPORARY

HEADROOM_BYTES = 4 << 30
"""RLIMIT_AS beyond what is mapped after loading the libraries. A last resort: numpy, scipy and soundfile alone map
513 MiB that they never touch, so a limit near the declared memory would kill healthy jobs."""
FILE_BYTES = 64 << 30
"""The largest file that a run may write: some hours of many channels, but no full disk."""
OPEN_FILES = 1_024
WATCHDOG_S = 0.25

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""
_LIBC = ctypes.CDLL(None)


@attrs.frozen(kw_only=True)
class Assignment:
    """One run, as its process is given it."""

    job: Job
    token: str
    versions: Versions
    workdir: Path
    memory_limit: int
    """Bytes."""
    parent: int
    """Pid of the supervisor."""


def run_job(assignment: Assignment, execution: Execution, line: socket.socket, board: Board) -> None:
    """Run the job in this process and tell the supervisor how it ended."""
    parent = ParentLine(line, assignment.job, assignment.versions)
    outside = execution.outside and attrs.evolve(execution.outside, accounts=LineAccounts(parent))
    execution = attrs.evolve(execution, assets=parent, jobs=parent, outside=outside)
    try:
        # The answer of a commit, or of a park, came from the supervisor, so there is nothing to tell it.
        execution.run(assignment.job, assignment.token, assignment.workdir, BoardPulse(board))
    except JobCancelledError:
        parent.say(Stopped())
    except BaseException as exc:  # noqa: BLE001 - other people's code may raise anything, SystemExit too
        parent.say(Failed(_explain(exc, assignment.job)))
    finally:
        # Here, not in the supervisor, whose loop some GiB to be freed would hold up.
        shutil.rmtree(assignment.workdir, ignore_errors=True)


def shut_in(assignment: Assignment) -> None:
    """Make this process the lone leader of a group that dies with its supervisor and stays within its limits."""
    os.setpgid(0, 0)
    die_with(assignment.parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _quiet()
    _limit(assignment.memory_limit)
    temporary = assignment.workdir / TEMPORARY
    confine(temporary)
    tempfile.tempdir = str(temporary)
    # Objects that came with the fork are never collected here: a collection would copy every page that holds one,
    # and could close what is the supervisor's.
    gc.freeze()


def die_with(parent: int) -> None:
    """See to it that this process is gone when `parent` is."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(0)


@attrs.frozen
class InProcessProbe(AudioProbe):
    """Probes in this very process, which is there to be lost."""

    limits: Limits

    def probe(self, path: Path) -> AudioInfo:
        """Read the header here."""
        return probe_file(path, self.limits)

    def close(self) -> None:
        """Hold nothing, free nothing."""


def _explain(exc: BaseException, job: Job) -> Failure:
    if isinstance(exc, MemoryError):
        # The frames of the traceback hold what took the memory; nothing below could be allocated.
        exc.__traceback__ = None
        gc.collect()
    return classify(exc, job)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCHDOG_S)
    os.killpg(0, signal.SIGKILL)


def _quiet() -> None:
    """Read from nowhere, and print to the log: a worker's stdout is for what its user asked to see."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.dup2(2, 1)


def _limit(memory_limit: int) -> None:
    mapped = memory.virtual_bytes()
    if mapped is not None:
        _set_limit(resource.RLIMIT_AS, mapped + max(HEADROOM_BYTES, 2 * memory_limit))
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    _set_limit(resource.RLIMIT_NOFILE, OPEN_FILES)


def _set_limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(what, (value, value))
