"""Start a job's process: a fork of the supervisor, or, where forks are unsafe, a program of its own."""

import os
import pickle
import socket
import subprocess
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

import attrs

from musproj.application.execution import Execution
from musproj.application.models import ModelFolder
from musproj.composition import MusProj, profiles_of
from musproj.domain.asset import Asset
from musproj.errors import ConfigurationError
from musproj.ports.processor import Processor
from musproj.processors.decode import decode_file
from musproj.processors.limits import Limits
from musproj.settings import Settings
from musproj.worker.board import SIZE, Board
from musproj.worker.child import Assignment, InProcessProbe, die_with, run_job, shut_in
from musproj.worker.fork import fork
from musproj.worker.poller import Polling
from musproj.worker.process import ChildProcess, open_pidfd

SPAWNED = "musproj.worker.spawned"
"""The program of a spawned process."""


class Launcher(Protocol):
    """Starts the process of one run."""

    @abstractmethod
    def __call__(self, assignment: Assignment) -> ChildProcess:
        """Return the running process.

        Raises:
            OSError: the system has no process or descriptor left.
        """


@attrs.frozen(kw_only=True)
class ForkLauncher:
    """Forks: what was imported before is there at once, and shared."""

    execution: Execution
    inherited: Callable[[], Iterable[int]]
    """The supervisor's own descriptors, which a child must not hold open."""

    def __call__(self, assignment: Assignment) -> ChildProcess:
        """Fork a child that runs the job."""
        board = Board.anonymous()
        ours, theirs = socket.socketpair()

        def body() -> None:
            shut_in(assignment)
            run_job(assignment, self.execution, theirs, board)

        pid = fork(body, closing=(*self.inherited(), ours.fileno()))
        return _started(pid, ours, theirs, board)


@attrs.frozen(kw_only=True)
class Sweep:
    """Uploads to look after, as a spawned process is given them."""

    parent: int
    """Pid of the supervisor."""
    due: Sequence[Asset]


@attrs.frozen(kw_only=True)
class SpawnLauncher:
    """Starts a fresh interpreter, which opens the stores by itself."""

    settings: Settings
    processors: Sequence[Processor] = ()

    def __call__(self, assignment: Assignment) -> ChildProcess:
        """Start a program that runs the job."""
        ours, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as page, theirs:
            os.ftruncate(page.fileno(), SIZE)
            board = Board.of_file(page.fileno())
            descriptors = (theirs.fileno(), page.fileno())
            pid = _spawn((self.settings, tuple(self.processors), assignment), descriptors)
            return _started(pid, ours, theirs, board)


def launcher_for(mp: MusProj, start_method: str, inherited: Callable[[], Iterable[int]]) -> Launcher:
    """Return the launcher of a worker of `mp`.

    Raises:
        ConfigurationError: a fresh program could not import a processor.
    """
    if start_method == "spawn":
        _refuse_unportable(mp.catalog.extra)
        return SpawnLauncher(settings=mp.settings, processors=mp.catalog.extra)
    return ForkLauncher(execution=execution_of(mp), inherited=inherited)


def sweep_starter(mp: MusProj, start_method: str, inherited: Callable[[], Iterable[int]]) -> Callable[[], int | None]:
    """Return what starts a process that looks once after uploads that nobody confirmed.

    It returns the pid, or None where there is nothing to look after, which costs no process; it raises
    `UnavailableError` where the records are away.
    """
    parent = os.getpid()

    def start() -> int | None:
        due = mp.uploads.take_due()
        if not due:
            return None
        if start_method == "spawn":
            return _spawn((mp.settings, tuple(mp.catalog.extra), Sweep(parent=parent, due=tuple(due))))

        def body() -> None:
            die_with(parent)
            mp.uploads.look_after(due)

        return fork(body, closing=inherited())

    return start


def poller_starter(mp: MusProj, who: str) -> Callable[[], int] | None:
    """Return what starts a process that polls outside services; None where none has a key here.

    It is a program of its own: it keeps connections, to services and records, of which a fork would share the
    supervisor's.
    """
    if not mp.services.names() or mp.outside is None:
        return None
    task = Polling(parent=os.getpid(), who=who)
    described = tuple(processor for processor in mp.catalog.extra if profiles_of([processor]))
    return lambda: _spawn((mp.settings, described, task))


def execution_of(mp: MusProj) -> Execution:
    """Return the execution of a job in this very process, or in a fork of it."""
    opened = mp.opened_storage
    limits = Limits(max_duration_seconds=mp.settings.max_duration_s)
    return Execution(
        storage=opened.storage,
        local_files=opened.local_files,
        assets=mp.metadata.assets,
        jobs=mp.metadata.jobs,
        catalog=mp.catalog,
        probe=InProcessProbe(limits),
        decode=lambda path, check: decode_file(path, check, limits),
        clock=mp.clock,
        models=ModelFolder(mp.settings.models_folder),
        max_output_bytes=opened.signed_urls.max_put_bytes if opened.signed_urls else None,
        outside=mp.outside,
    )


def _spawn(task: object, descriptors: tuple[int, ...] = ()) -> int:
    """Start the program of a spawned process with `task` on its stdin, and return its pid."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", SPAWNED, *map(str, descriptors)], pass_fds=descriptors, stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as stdin:  # it may have died already, which is seen elsewhere
        pickle.dump(task, stdin)
    # The supervisor reaps by pid; this keeps Popen from warning that nobody did.
    process.returncode = 0
    return process.pid


def _refuse_unportable(processors: Iterable[Processor]) -> None:
    for processor in processors:
        try:
            pickle.dumps(processor)
        except (pickle.PicklingError, AttributeError, TypeError) as exc:
            reason: object = exc
        else:
            if type(processor).__module__ != "__main__":
                continue
            reason = "it is defined in the main program"
        raise ConfigurationError(
            f"Processor {processor.spec.name!r} cannot be handed to a job's process: {reason}.",
            hint="Define it, and the functions in its spec, at the top level of a module.",
        )


def _started(pid: int, ours: socket.socket, theirs: socket.socket, board: Board) -> ChildProcess:
    theirs.close()
    # The child does the same: whoever comes first, the group is there before anybody kills it.
    with suppress(OSError):
        os.setpgid(pid, pid)
    return ChildProcess(pid=pid, line=ours, board=board, pidfd=open_pidfd(pid))
