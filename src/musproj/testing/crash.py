"""Die at a given call to a port: the places where a real process can be killed, one by one. Or find all ports shut.

A worker's process opens its stores, wraps them with `armed`, and dies by SIGKILL at the k-th counted call, before
it, after it, or, in an upload, in the middle. The count is shared by the supervisor and the processes of its jobs,
which take turns, so it is the same in each run of the same job. While a file named `AWAY` lies beside the journal,
every call fails as that of a store that cannot be reached.
"""

import mmap
import os
import signal
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import attrs

from musproj.application.outside import Services
from musproj.composition import MusProj
from musproj.errors import BackendUnavailableError
from musproj.ports.remote import RemoteService

Place = Literal["before", "during", "after"]
Victim = Literal["child", "all"]

COUNTED: Mapping[str, tuple[str, ...]] = {
    "queue": ("claim", "ack"),
    "jobs": ("begin", "reserve", "commit", "release", "note", "park"),
    "assets": ("version",),
    "storage": ("put", "stat", "read", "list"),
    "local_files": ("path",),
    "service": ("create", "upload", "submit", "find", "outputs", "fetch"),
}
"""What a job does to the ports. Beats, ticks and feeds come by the clock, and polls are another process's: no number."""

LOCAL = ("listen", "close")
"""What asks no store."""
AWAY = "AWAY"

_COUNT = struct.Struct("<Q")


@attrs.frozen(kw_only=True)
class CrashPoint:
    """Where to die; place 0 is nowhere."""

    number: int = 0
    place: Place = "before"
    victim: Victim = "all"
    """`child`: the job's process alone, whichever process makes the call; `all`: its supervisor too."""

    def __str__(self) -> str:
        """Return it as a test's id: `3:after:child`."""
        return f"{self.number}:{self.place}:{self.victim}"


@attrs.define(eq=False)
class CallCounter:
    """Counts calls over a process and its forks, writes each into `journal`, and kills at the point."""

    point: CrashPoint
    journal: Path
    _supervisor: int = attrs.field(factory=os.getpid, init=False)
    _page: mmap.mmap = attrs.field(factory=lambda: mmap.mmap(-1, _COUNT.size), init=False)

    def call(self, name: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call `function` as the next counted call."""
        number = _COUNT.unpack_from(self._page)[0] + 1
        _COUNT.pack_into(self._page, 0, number)
        with self.journal.open("a", encoding="utf-8") as journal:
            journal.write(f"{number} {name} {'supervisor' if os.getpid() == self._supervisor else 'child'}\n")
        is_here = number == self.point.number
        if is_here and self.point.place == "before":
            self._kill()
        if is_here and self.point.place == "during" and name == "storage.put":
            key, source, *rest = args
            args = (key, _DeadlySource(source, self._kill), *rest)
        result = function(*args, **options)
        if is_here and self.point.place == "after":
            self._kill()
        return result

    @property
    def is_away(self) -> bool:
        """Whether no store can be reached now."""
        return self.journal.with_name(AWAY).exists()

    def _kill(self) -> None:
        if os.getpid() == self._supervisor:
            for pid in _job_processes(self._supervisor):
                os.kill(pid, signal.SIGKILL)
        elif self.point.victim == "all":
            os.kill(self._supervisor, signal.SIGKILL)
        if self.point.victim == "all" or os.getpid() != self._supervisor:
            os.kill(os.getpid(), signal.SIGKILL)


class CountedPort:
    """Stands before a port: counts what `COUNTED` names, shuts it while all stores are away."""

    def __init__(self, port: object, name: str, counter: CallCounter) -> None:
        """Pass everything on to `port`."""
        self._port = port
        self._name = name
        self._counter = counter

    def __getattr__(self, method: str) -> Any:
        """Return the method, counted where it is to be."""
        found = getattr(self._port, method)
        if method in LOCAL:
            return found

        def call(*args: Any, **options: Any) -> Any:
            if self._counter.is_away:
                raise BackendUnavailableError(f"{self._name} is away: the test says so.")
            if method in COUNTED[self._name]:
                return self._counter.call(f"{self._name}.{method}", found, *args, **options)
            return found(*args, **options)

        return call


class CountedService:
    """Stands before an outside service."""

    def __init__(self, service: object, counter: CallCounter) -> None:
        """Pass everything on to `service`."""
        self._service = service
        self._counter = counter

    def __getattr__(self, name: str) -> Any:
        """Return what is there, counted where it is to be."""
        found = getattr(self._service, name)
        if name not in COUNTED["service"]:
            return found

        def call(*args: Any, **options: Any) -> Any:
            return self._counter.call(f"service.{name}", _at_once(found), *args, **options)

        return call


@attrs.frozen
class _CountedServices(Services):
    services: Services
    counter: CallCounter

    def names(self) -> frozenset[str]:
        return self.services.names()

    def open(self, name: str) -> RemoteService:
        return cast("RemoteService", CountedService(self.services.open(name), self.counter))


def _at_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` with what it yields read: a generator calls nobody before that."""

    def call(*args: Any, **options: Any) -> Any:
        answer = function(*args, **options)
        return list(cast("Iterator[object]", answer)) if isinstance(answer, Iterator) else answer

    return call


def armed(mp: MusProj, point: CrashPoint, journal: Path) -> MusProj:
    """Return `mp` with ports that count, write what they count into `journal`, and kill at `point`."""
    counter = CallCounter(point, journal)

    def counted(port: object, name: str) -> Any:
        return CountedPort(port, name, counter)

    files = mp.opened_storage.local_files
    outside = mp.outside and attrs.evolve(mp.outside, services=_CountedServices(mp.outside.services, counter))
    return attrs.evolve(
        mp,
        outside=outside,
        queue=counted(mp.queue, "queue"),
        metadata=attrs.evolve(
            mp.metadata, jobs=counted(mp.metadata.jobs, "jobs"), assets=counted(mp.metadata.assets, "assets")
        ),
        opened_storage=attrs.evolve(
            mp.opened_storage,
            storage=counted(mp.opened_storage.storage, "storage"),
            local_files=counted(files, "local_files") if files is not None else None,
        ),
    )


class _DeadlySource:
    """An upload's source that kills when its second block is asked for."""

    def __init__(self, source: BinaryIO, kill: Callable[[], None]) -> None:
        self._source = source
        self._kill = kill
        self._blocks = 0

    def read(self, size: int = -1) -> bytes:
        self._blocks += 1
        if self._blocks > 1:
            self._kill()
        return self._source.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


def _job_processes(supervisor: int) -> list[int]:
    """Return the job processes of `supervisor`: children that lead a group but, unlike the guard, no session."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text(encoding="ascii").split()
    pids = [int(pid) for pid in children]
    return [pid for pid in pids if os.getpgid(pid) == pid and os.getsid(pid) != pid]


def calls_in(journal: Path) -> list[str]:
    """Return the names of the calls that a worker wrote down, in order."""
    return [line.split()[1] for line in journal.read_text(encoding="utf-8").splitlines()]


def points_of(calls: Sequence[str], victims: Sequence[Victim] = ("child", "all")) -> list[CrashPoint]:
    """Return every point at which a job that makes `calls` can be killed."""
    return [
        CrashPoint(number=number, place=place, victim=victim)
        for victim in victims
        for number, call in enumerate(calls, start=1)
        for place in _places(call)
    ]


def _places(call: str) -> tuple[Place, ...]:
    return ("before", "during", "after") if call == "storage.put" else ("before", "after")
