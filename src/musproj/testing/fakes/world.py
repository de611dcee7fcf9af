"""What both fakes share between two resets: clock, request log, bills, scripts, faults."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from musproj.testing.fakes.exchange import Json, as_list, as_object
from musproj.testing.fakes.faults import Fault, Faults
from musproj.testing.fakes.options import Options


@attrs.define(kw_only=True)
class Call:
    """One request, as logged; `n` counts from 1, without the control routes."""

    n: int
    method: str
    path: str
    query: str = ""
    headers: list[tuple[str, str]] = attrs.field(factory=list[tuple[str, str]])
    body_sha256: str = ""
    body_len: int = 0
    t: float = 0.0
    """Seconds, on the fakes' clock."""

    @property
    def line(self) -> str:
        """The method and the path, which faults look at."""
        return f"{self.method} {self.path}"

    def header(self, name: str) -> str | None:
        """Return a header, whatever the case of its name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@attrs.frozen(kw_only=True)
class Bill:
    """Something that was paid for; hours at Auphonic, minutes at LALAL."""

    service: str
    id: str
    units: float
    tag: str | None
    """`output_basename` or `idempotency_key`: which operation it was for."""


@attrs.define(kw_only=True)
class Script:
    """What successive polls answer; the last status stays."""

    statuses: tuple[Any, ...]
    error: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    without: tuple[str, ...] = ()
    """Labels that the result lacks (LALAL)."""
    position: int = 0

    @property
    def last(self) -> Any:
        """What it comes to."""
        return self.statuses[-1]

    def next(self) -> Any:
        """Return the status of the next poll."""
        status = self.statuses[min(self.position, len(self.statuses) - 1)]
        self.position += 1
        return status

    @classmethod
    def of(cls, outcome: Mapping[str, Any]) -> "Script":
        """Return what JSON describes.

        Raises:
            ValueError: it has no statuses.
        """
        statuses = outcome.get("statuses")
        if not statuses:
            raise ValueError('An outcome needs "statuses", such as {"statuses": [4, 5, 3]}.')
        return cls(
            statuses=tuple(statuses),
            error=as_object(outcome.get("error")),
            without=tuple(as_list(outcome.get("without"))),
        )


class World:
    """Everything that a reset forgets; whoever reads or changes it holds `lock`."""

    def __init__(self, options: Options, port: int, now: Callable[[], float] = time.time) -> None:
        """Begin with nothing.

        Args:
            options: How the fakes behave.
            port: Where the server listens.
            now: The clock under the offset, in seconds.
        """
        self.options = options
        self.api = f"http://127.0.0.1:{port}"
        self.results = f"http://localhost:{port}"  # another origin, as the vendors' results have
        self.lock = threading.RLock()
        self.faults = Faults()
        self.calls: list[Call] = []
        self.bills: list[Bill] = []
        self.deleted: list[str] = []
        self.leaks: list[Json] = []
        self.webhooks: list[Json] = []
        self.forbidden: list[str] = []
        self.live: set[str] = set()
        self.running: set[str] = set()
        self._max_concurrent = 0
        self._scripts: deque[Script] = deque()
        self._now, self._offset = now, 0.0

    def clock(self) -> float:
        """Return the time, in seconds since the epoch."""
        return self._now() + self._offset

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self._offset += seconds

    def add_script(self, outcome: Mapping[str, Any]) -> None:
        """Set what becomes of the next object that has no script yet."""
        self._scripts.append(Script.of(outcome))

    def next_script(self) -> Script | None:
        """Return what becomes of the object being made; None: what is usual."""
        return self._scripts.popleft() if self._scripts else None

    def bill(self, bill: Bill) -> None:
        """Charge for something."""
        self.bills.append(bill)

    def billed(self, service: str) -> float:
        """Return the units that a service has charged."""
        return sum(bill.units for bill in self.bills if bill.service == service)

    def leak(self, path: str, name: str) -> None:
        """Note a key that went where none belongs; never its value."""
        self.leaks.append({"path": path, "header": name})

    def set_running(self, name: str, *, running: bool) -> None:
        """Note that an object has begun or ended to run."""
        if running:
            self.running.add(name)
        else:
            self.running.discard(name)
        self._max_concurrent = max(self._max_concurrent, len(self.running))

    def take(self, kinds: frozenset[str], call: Call) -> Fault | None:
        """Return the fault that is due at a call."""
        with self.lock:
            return self.faults.take(kinds, call.line, call.n)

    def state(self) -> Json:
        """Return a copy of all that happened."""
        with self.lock:
            return {
                "bills": [attrs.asdict(bill) for bill in self.bills],
                "calls": [attrs.asdict(call) for call in self.calls],
                "deleted": list(self.deleted),
                "live": len(self.live),
                "running": len(self.running),
                "max_concurrent": self._max_concurrent,
                "leaks": [dict(leak) for leak in self.leaks],
                "webhooks": [dict(webhook) for webhook in self.webhooks],
                "forbidden": list(self.forbidden),
            }
