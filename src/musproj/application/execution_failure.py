"""What an exception means for the job: which kind of failure, under which code, in which words."""

import errno
import re
from datetime import timedelta

from musproj.domain.job import FailureKind, Job
from musproj.domain.ledger import MESSAGE_LIMIT, Failure
from musproj.domain.text import printable
from musproj.errors import (
    ChecksumMismatchError,
    CodecCrashedError,
    ConfigurationError,
    ConflictError,
    InvalidError,
    JobCancelledError,
    LimitExceededError,
    MusProjError,
    NotFoundError,
    OutOfMemoryError,
    ProcessingError,
    ProcessorTimeoutError,
    RemoteError,
    StorageFullError,
    UnavailableError,
    WorkerCrashedError,
)

_KINDS: tuple[tuple[type[BaseException], FailureKind], ...] = (
    (JobCancelledError, FailureKind.INTERRUPTED),
    (OutOfMemoryError, FailureKind.CRASH),
    (WorkerCrashedError, FailureKind.CRASH),
    (CodecCrashedError, FailureKind.PERMANENT),
    (ProcessorTimeoutError, FailureKind.TIMEOUT),
    (UnavailableError, FailureKind.BACKEND),
    (NotFoundError, FailureKind.PERMANENT),
    (ConflictError, FailureKind.PERMANENT),
    (InvalidError, FailureKind.PERMANENT),
    (ConfigurationError, FailureKind.PERMANENT),
    (RemoteError, FailureKind.PERMANENT),  # what can be tried again was, without an attempt
)
"""Ours by class, the first that fits; a `ProcessingError` beyond these goes by its `retryable`."""

_FULL = (errno.ENOSPC, errno.EDQUOT)

_QUERY = re.compile(r"\?[^\s'\"<>]+")
_USER_INFO = re.compile(r"://[^\s/@'\"]+@")


def classify(exc: BaseException, job: Job | None = None) -> Failure:
    """Return what `exc`, raised while `job` ran, costs and what its user reads.

    The text carries no query string and no user information of a URL: both may be credentials.
    """
    if isinstance(exc, MusProjError):
        return Failure(
            kind=_kind_of(exc, job), code=exc.code, message=plain_text(exc.message), retry_after=_retry_after(exc)
        )
    if isinstance(exc, MemoryError):
        return classify(OutOfMemoryError("The processor ran out of memory."))
    if isinstance(exc, OSError) and exc.errno in _FULL:
        return classify(StorageFullError("The disk of the worker's temporary folder is full."))
    if isinstance(exc, OSError) and exc.errno == errno.EFBIG:
        return classify(LimitExceededError("The processor wrote a larger file than a worker allows."))
    if not isinstance(exc, Exception):
        return classify(WorkerCrashedError(f"The processor ended its process: {type(exc).__name__}."))
    kind = FailureKind.TRANSIENT if isinstance(exc, ConnectionError | TimeoutError) else FailureKind.INTERNAL
    return Failure(kind=kind, code="internal", message=plain_text(f"{type(exc).__name__}: {exc}"))


def plain_text(text: str) -> str:
    """Return `text` in one line, short, and without what may be a credential."""
    text = _USER_INFO.sub("://…@", _QUERY.sub("?…", printable(" ".join(text.split()))))
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + "…"


def _kind_of(exc: MusProjError, job: Job | None) -> FailureKind:
    if isinstance(exc, ChecksumMismatchError):
        return _once(exc.code, job)
    for cls, kind in _KINDS:
        if isinstance(exc, cls):
            return kind
    if isinstance(exc, ProcessingError):
        return FailureKind.TRANSIENT if exc.retryable else FailureKind.PERMANENT
    return FailureKind.INTERNAL


def _once(code: str, job: Job | None) -> FailureKind:
    """Return transient at the first time: bytes that differ twice differ in the store, not on the way."""
    is_repeated = job is not None and any(attempt.code == code for attempt in job.history)
    return FailureKind.PERMANENT if is_repeated else FailureKind.TRANSIENT


def _retry_after(exc: MusProjError) -> timedelta | None:
    seconds = exc.facts.get("retry_after")
    return timedelta(seconds=seconds) if isinstance(seconds, int | float) else None
