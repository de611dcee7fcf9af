"""The record of work that an outside service does for a job: what was asked for, paid, and is still there.

It lies in the job's own record, so that each of its changes is one with the job's. What is about to be created or
bought is written down before the call, and the token, from which a service's idempotency key and the name of its object
are made, is derived: a lost record, a crash and a retry come back with the same one.
"""

import uuid
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

import attrs
from attrs.validators import ge

from musproj.domain.ids import JobId
from musproj.domain.times import aware

NAMESPACE = uuid.UUID("6d757370-726f-5a00-8000-72656d6f7465")
"""Of operation tokens; never changed, or work that was paid for is not found again."""
KEEP_FAILED = timedelta(hours=24)
"""How long a failed operation's objects stay at the service, for a retry to find them."""
CLEANUP_BASE = timedelta(minutes=1)
CLEANUP_CAP = timedelta(hours=6)
CLEANUP_TRIES = 20
"""About three days; after that once a day, and somebody should look."""
CLEANUP_RARELY = timedelta(days=1)
KEPT_REQUESTS = 20
CREATE, SUBMIT = "create", "submit"
"""Intents of an operation."""


class RemotePhase(StrEnum):
    """How far an operation has come."""

    PLANNED = "planned"
    DRAFT = "draft"
    """An object of ours is at the service, empty and free."""
    STAGED = "staged"
    """The input is there too."""
    SUBMITTED = "submitted"
    """It was bought, and the service works."""
    FINISHED = "finished"
    COMMITTED = "committed"
    """The results are ours."""
    CLEANED = "cleaned"
    FAILED = "failed"
    """The service said so, or it came to nothing before."""
    CANCELLED = "cancelled"
    LOST = "lost"
    """It may have been bought, and nobody can find it."""

    @property
    def is_ended(self) -> bool:
        """Whether the service does nothing for it any more, and has made nothing."""
        return self in (RemotePhase.FAILED, RemotePhase.CANCELLED, RemotePhase.LOST)

    @property
    def is_before_purchase(self) -> bool:
        """Whether nothing that costs money was called for yet, as far as the phase tells."""
        return self in (RemotePhase.PLANNED, RemotePhase.DRAFT, RemotePhase.STAGED)


class CostState(StrEnum):
    """Whether an operation was paid for."""

    NONE = "none"
    MAYBE = "maybe"
    """The call was about to be made, or its outcome is unknown."""
    BILLED = "billed"


@attrs.frozen(kw_only=True)
class Cost:
    """What an operation costs, in the service's own unit."""

    unit: str
    """`credit_hour`, `minute`, …"""
    estimate: float = attrs.field(validator=ge(0))
    actual: float | None = None
    state: CostState = attrs.field(default=CostState.NONE, converter=CostState)

    @property
    def is_free(self) -> bool:
        """Whether nothing is paid for it at all."""
        return self.known == 0

    @property
    def known(self) -> float:
        """What it costs as far as is known."""
        return self.estimate if self.actual is None else self.actual


@attrs.frozen(kw_only=True)
class RemoteFault:
    """Why an operation does not go on, or ended."""

    code: str
    message: str


@attrs.frozen(kw_only=True)
class RemoteOp:
    """One operation at an outside service; no key, no signed URL and no user's file name is ever in it."""

    service: str
    account: str
    """A name, never a key."""
    token: str
    """uuid5 of the root job and the step."""
    request_digest: str
    """Of what is asked for: an operation is never continued with another request."""
    cost: Cost
    phase: RemotePhase = attrs.field(default=RemotePhase.PLANNED, converter=RemotePhase)
    intent: str | None = None
    """The creating or billable call that was about to be made."""
    input_mode: str = "upload"
    """`upload` or `url`."""
    upload_ref: str | None = None
    upload_expires: datetime | None = attrs.field(default=None, validator=aware)
    remote_id: str | None = None
    submitted_at: datetime | None = attrs.field(default=None, validator=aware)
    deadline: datetime | None = attrs.field(default=None, validator=aware)
    """Of the service's work."""
    next_poll: datetime | None = attrs.field(default=None, validator=aware)
    polls: int = 0
    misses: int = 0
    """Polls in a row that the service knew nothing of it."""
    restarts: int = 0
    """How often it was begun again after it had failed, or its input was lost."""
    returns: int = 0
    """How often the service let it fall back to before its start."""
    tries: int = 0
    """Failed calls in this phase."""
    fetches: int = 0
    """Results that were not what they should be."""
    request_ids: tuple[str, ...] = ()
    error: RemoteFault | None = None
    cleanup_due: datetime | None = attrs.field(default=None, validator=aware)
    """None where nothing of ours is at the service."""
    cleanups: int = 0
    """Failed tries to delete."""
    cleanup_error: RemoteFault | None = None
    heir: JobId | None = None
    """The job that took it over."""
    rev: int = 1
    """Grows with each change."""

    @property
    def is_at_service(self) -> bool:
        """Whether something of ours is, or may be, at the service."""
        return bool(self.remote_id or self.upload_ref or self.intent)

    def evolve(self, **changes: object) -> Self:
        """Return it changed, as its next revision."""
        return attrs.evolve(self, **{"rev": self.rev + 1, **changes})  # type: ignore[arg-type]

    def enter(self, phase: RemotePhase, **changes: object) -> Self:
        """Return it in `phase`, with nothing left of failed calls before."""
        return self.evolve(**{"phase": phase, "intent": None, "tries": 0, "error": None, **changes})

    def heard_of(self, request_id: str | None) -> Self:
        """Return it with one more of the service's request ids; no new revision."""
        if not request_id:
            return self
        return attrs.evolve(self, request_ids=(*self.request_ids, request_id)[-KEPT_REQUESTS:])

    def ended(self, *, succeeded: bool, cancelled: bool, now: datetime) -> Self:
        """Return what is left to do once the job has ended so."""
        phase = RemotePhase.COMMITTED if succeeded else RemotePhase.CANCELLED if cancelled else self.phase
        due = None
        if self.is_at_service:
            # What is lost may still run: deleting its input stops it.
            is_kept = not (succeeded or cancelled or self.phase is RemotePhase.LOST)
            due = now + KEEP_FAILED if is_kept else now
        return self.evolve(phase=phase, cleanup_due=due, error=None if cancelled else self.error)

    def cleaned(self) -> Self:
        """Return it with nothing left at the service."""
        phase = RemotePhase.CLEANED if self.phase is RemotePhase.COMMITTED else self.phase
        return self.evolve(phase=phase, cleanup_due=None, cleanup_error=None)

    def not_cleaned(self, fault: RemoteFault, now: datetime) -> Self:
        """Return it to be cleaned later."""
        tries = self.cleanups + 1
        pause: timedelta = min(CLEANUP_CAP, CLEANUP_BASE * 2 ** min(tries - 1, 16))
        due = now + (pause if tries < CLEANUP_TRIES else CLEANUP_RARELY)
        return self.evolve(cleanups=tries, cleanup_error=fault, cleanup_due=due)

    def for_retry(self) -> Self:
        """Return what a job of the same root takes over; what was paid is not paid again.

        What failed for want of an answer goes on where it was; a result that was wrong is fetched anew; what the
        service did not bill, or restarts for nothing, is tried again; the rest stays as it ended.
        """
        fresh = attrs.evolve(
            self,
            heir=None,
            cleanup_due=None,
            cleanups=0,
            tries=0,
            fetches=0,
            polls=0,
            misses=0,
            restarts=0,
            returns=0,
            rev=1,
        )
        match self.phase:
            case RemotePhase.FAILED | RemotePhase.CANCELLED | RemotePhase.LOST if self.cost.state is CostState.NONE:
                # What is at the service bears the name that both have: whoever ends last deletes it by that.
                intent = CREATE if self.is_at_service else None
                return attrs.evolve(
                    fresh, phase=RemotePhase.PLANNED, error=None, intent=intent, remote_id=None, upload_ref=None,
                    upload_expires=None,
                )  # fmt: skip
            case RemotePhase.CANCELLED if self.submitted_at is None:
                return attrs.evolve(fresh, phase=RemotePhase.PLANNED, error=None)
            case _:
                return attrs.evolve(fresh, error=self.error if self.phase.is_ended else None)


def operation_token(root: JobId, step: str = "1") -> str:
    """Return the token of a step of all jobs of one root (RFC 9562, 5.5: UUID version 5)."""
    return str(uuid.uuid5(NAMESPACE, f"{root}/{step}"))


def as_key(token: str) -> str:
    """Return the token in the form of a random UUID, which some services insist on."""
    return str(uuid.UUID(bytes=uuid.UUID(token).bytes, version=4))
