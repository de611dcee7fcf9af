"""Outside services that do a job's work for money, and what all workers of an installation know of an account there.

A service adapter declares what it can do (`Caps`) and makes one call per method; the engine above owns crash safety:
the order of saving and calling, what a lost answer means, when to give up.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from pathlib import Path
from typing import Literal, Protocol

import attrs

from musproj.domain.remote import Cost, RemoteFault, RemoteOp
from musproj.ports.processor import RemoteTask

DEFAULT_ACCOUNT = "default"
"""Of a service that has one key here."""
ASSUMED_S = 3_600.0
"""Length of an input whose length is unknown, in estimates and deadlines."""

MOST_CALLS_PER_MINUTE = 100_000
"""Of an account's rate, and of its burst: what a job's process may ask for."""
MOST_SPENT = 1e9
"""Of a cost or a budget, in any unit: what a job's process may tell."""

KEY_USED = "idempotency_key_used"
"""Code of the failure that says that a key has led to a task, whose id is not told again."""


class CallClass(StrEnum):
    """What a failed call means."""

    NOT_SENT = "not_sent"
    """The service has heard nothing."""
    REFUSED = "refused"
    """It did nothing, and asks for patience."""
    AMBIGUOUS = "ambiguous"
    """A call with an effect, whose outcome is unknown."""
    TRANSIENT = "transient"
    """A call without one: to be repeated."""
    STALE = "stale"
    """A result's address is no longer good."""
    REJECTED = "rejected"
    AUTH = "auth"
    QUOTA = "quota"
    MISMATCH = "mismatch"
    """A result is not what it should be."""
    FATAL = "fatal"


class CallError(Exception):
    """A call to a service failed; its text holds neither a key nor the query of a URL."""

    def __init__(
        self,
        kind: CallClass,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        body: Mapping[str, object] | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        """Keep what the service said: HTTP status, its own code, its answer, the seconds it asked for."""
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.code = code
        self.body = body
        self.retry_after = retry_after
        self.request_id = request_id

    def __repr__(self) -> str:
        """Return what may be logged."""
        return f"CallError({self.kind}, {self.message!r}, status={self.status}, code={self.code!r})"


@attrs.frozen(kw_only=True)
class Caps:
    """What a service can do."""

    has_drafts: bool = False
    """An object can be made there, free, before anything is paid."""
    idempotency: Literal["none", "until_start", "full"] = "none"
    """For how long a repeated key leads to the same task."""
    has_tags: bool = False
    """Its objects can be listed, and ours told by their token."""
    takes_urls: bool = False
    sends_hints: bool = False
    """It calls a webhook, whose word is not taken for it."""
    has_free_restarts: bool = False
    poll_batch: int = 1
    """Operations that one call asks for."""
    calls_per_minute: float = 60.0
    burst: int = 10
    """Calls at once, beyond the rate."""
    limits_polls_alone: bool = False
    """The rate holds for questions how far it is, and for nothing else."""
    upload_life: timedelta | None = None
    task_life: timedelta | None = None
    max_upload_bytes: int | None = None
    max_running: int = 50
    tells_balance: bool = False
    """`balance` calls it; where that returns None all the same, it answered and was not understood."""


class RemoteState(Enum):
    """What a service says of an operation."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOT_STARTED = "not_started"
    """It has the input and waits to be started."""
    NEEDS_INPUT = "needs_input"
    OUTDATED = "outdated"
    """To be started again."""
    GONE = "gone"
    """It knows nothing of it."""


def sensible(value: object) -> float | None:
    """Return a finite number from 0 on, None for anything else that a service may have said."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


@attrs.frozen(kw_only=True)
class Update:
    """What was heard of one operation."""

    state: RemoteState
    fraction: float | None = attrs.field(default=None, converter=sensible)
    """Done, 0 to 1; None for what is no number of that kind."""
    actual: float | None = attrs.field(default=None, converter=sensible)
    """What it cost, in the unit of its `Cost`; the same."""
    fault: RemoteFault | None = None
    request_id: str | None = None


@attrs.frozen(kw_only=True)
class RemoteOutput:
    """One file that a service made; the address is as good as a key and is recorded nowhere."""

    label: str
    url: str = attrs.field(repr=False)
    size: int | None = None
    """Bytes."""
    md5: str | None = None


@attrs.frozen(kw_only=True)
class RemoteInput:
    """What a service is to work on."""

    path: Callable[[], Path]
    """Brings it onto this disk."""
    url: Callable[[], str | None]
    """Returns a signed address that the service can reach, or None."""
    url_expires: datetime | None = attrs.field(kw_only=True, default=None)
    """Until when a signed address of now is good."""
    size: int
    """Bytes."""
    duration: float | None
    """Seconds."""
    extension: str


@attrs.frozen(kw_only=True)
class Fetched:
    """A result on this disk."""

    size: int
    """Bytes."""
    sha256: str
    """Hexadecimal."""
    md5: str
    """Hexadecimal, to compare with what a service says; proves nothing against intent."""


class RemoteService(Protocol):
    """One account at one service.

    Every method that calls it raises `CallError`, and `RemoteHostRefusedError` where an address may not be called;
    `create` and `find` are not called of a service that has neither drafts nor tags.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """The service, as tasks name it."""

    @property
    @abstractmethod
    def account(self) -> str:
        """The configured name of the account."""

    @property
    def key(self) -> str:
        """The account as all workers know it."""
        return f"{self.name}:{self.account}"

    @property
    @abstractmethod
    def caps(self) -> Caps:
        """What it can do."""

    @abstractmethod
    def estimate(self, task: RemoteTask, duration: float | None) -> Cost:
        """Return what a task on so many seconds will cost."""

    @abstractmethod
    def create(self, op: RemoteOp, task: RemoteTask, source: RemoteInput, hook: str | None) -> RemoteOp:
        """Make a free object (`has_drafts`): the operation with its `remote_id`, in the phase `draft` or `staged`."""

    @abstractmethod
    def upload(self, op: RemoteOp, task: RemoteTask, source: RemoteInput) -> RemoteOp:
        """Bring the input there, free: the operation in the phase `staged`."""

    @abstractmethod
    def submit(self, op: RemoteOp, task: RemoteTask, source: RemoteInput, hook: str | None) -> RemoteOp:
        """Start the work: the one call that costs money; the operation with its `remote_id`."""

    @abstractmethod
    def find(self, op: RemoteOp) -> RemoteOp | None:
        """Return the operation as far as the service knows it (`has_tags`), None where it knows nothing."""

    @abstractmethod
    def poll(self, ops: Sequence[RemoteOp]) -> Mapping[str, Update]:
        """Return token → what was heard; one that is missing was not asked for."""

    @abstractmethod
    def outputs(self, op: RemoteOp) -> Iterable[RemoteOutput]:
        """Return what a finished operation made, under fresh addresses."""

    @abstractmethod
    def fetch(self, output: RemoteOutput, target: Path, *, max_bytes: int, check: Callable[[], None]) -> Fetched:
        """Download a result; never more than `max_bytes`, and `check` may end it."""

    @abstractmethod
    def cancel(self, op: RemoteOp) -> None:
        """Stop this operation, and no other; one that has ended is none to stop."""

    @abstractmethod
    def cleanup(self, op: RemoteOp) -> None:
        """Delete all that is there of the operation; what is gone already is deleted."""

    @abstractmethod
    def balance(self) -> tuple[float, str] | None:
        """Return what is left on the account, and its unit; None where that is not told.

        Nothing is called where `tells_balance` is not among what it can do.
        """

    @abstractmethod
    def close(self) -> None:
        """Close its connections."""


@attrs.frozen(kw_only=True)
class Pause:
    """Why nobody calls an account for now."""

    account: str
    until: datetime
    fault: RemoteFault


def next_call(now: float, arrival: float, *, per_minute: float, burst: int) -> tuple[float, float]:
    """Return how long to wait, 0 for not at all, and when the call after this one would arrive (GCRA, ITU-T I.371).

    Times are in seconds; in any minute at most `per_minute + burst` calls go through.
    """
    between = 60.0 / per_minute
    arrival = max(now, arrival)
    early = arrival - (burst - 1) * between
    return (early - now, arrival) if early > now else (0.0, arrival + between)


LOOKED_AFTER = timedelta(minutes=15)
"""An operation that a service works on is looked after at least so often; one that only waits to be deleted, later."""


class RemoteAccounts(Protocol):
    """What all workers know of the accounts, which are named `<service>:<name>`.

    Every method is one transaction, and raises `BackendUnavailableError` where the records are away.
    """

    __slots__ = ()

    @abstractmethod
    def lead(self, account: str, who: str, life: timedelta) -> bool:
        """Tell whether `who` is the one that polls the account, for `life` from now."""

    @abstractmethod
    def take(self, account: str, *, per_minute: float, burst: int) -> float:
        """Take the right to one call: 0.0, or after how many seconds to ask again (GCRA, ITU-T I.371)."""

    @abstractmethod
    def hold(self, account: str, seconds: float) -> None:
        """Let nobody call before so many seconds are over."""

    @abstractmethod
    def pause(self, account: str, fault: RemoteFault, life: timedelta) -> None:
        """Stop the account until somebody mended it, or for `life`."""

    @abstractmethod
    def pauses(self) -> Sequence[Pause]:
        """Return the accounts that are stopped."""

    @abstractmethod
    def resume(self, account: str) -> None:
        """Let the account be called again."""

    @abstractmethod
    def running(self, service: str) -> int:
        """Return about how many operations the service works on now."""

    @abstractmethod
    def spend(self, account: str, day: str, token: str, amount: float, *, limit: float | None) -> float | None:
        """Note that an operation is to cost so much that day; None, or what the others cost where that is over `limit`.

        An operation counts once: the same one again changes its amount. The limit is looked at wherever the amount is
        more than what is noted of the operation, as after it was given back by 0.0; what is refused changes nothing.
        The same amount again, or less, is always noted: it was bought already.
        """
