"""The job record as a Redis hash: which field holds what, and what a record that cannot be read is taken for."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import attrs

from musproj.codec import from_plain, to_plain
from musproj.domain.ids import AssetId, JobId, Owner
from musproj.domain.job import SINGLE_PORT, Attempt, Job, JobError, JobInput, JobStatus
from musproj.domain.remote import RemoteOp
from musproj.domain.times import from_millis, to_millis
from musproj.errors import CorruptRecordError

SCHEMA = 1
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, CorruptRecordError)

Raw = Mapping[str, str]


@attrs.frozen
class Field:
    """How one attribute of a job lies in the hash; a value equal to `default` is left out."""

    name: str
    attribute: str
    dump: Callable[[Any], str] = str
    load: Callable[[str], Any] = str
    default: object = None


@attrs.frozen(kw_only=True)
class StoredJob:
    """A job as it was read, with what only this store keeps of it."""

    job: Job
    revision: int = 1
    """Grows with each change: a change is applied to the record that it was decided on, or not at all."""
    delivery: int = 0
    """How often the job was put into its queue."""
    is_delayed: bool = False
    """It waits in `Keys.delayed`, not in `Keys.delivered`."""
    slots: str = ""
    """Which slots its run holds: `p` of its type, `o` of its owner."""
    suspect: int = 0
    """The delivery that was seen with a worker although nobody had begun the job."""
    is_corrupt: bool = False
    """The job is what could be made of an unreadable record."""
    schema: int = SCHEMA
    """As written: a record of a newer program is shown as far as it can be read, and never changed."""

    @property
    def is_newer(self) -> bool:
        """Whether a newer program wrote the record."""
        return self.schema > SCHEMA


# ── one value ────────────────────────────────────────────────────────────────────────────────────


def as_json(value: object) -> str:
    """Return a value as JSON with sorted keys and no spaces; only ASCII, so that a lone surrogate is no trouble."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"))


def timestamp(value: datetime) -> str:
    """Return a time in RFC 3339, UTC, with milliseconds."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text(value: str) -> str:
    """Return a text without what UTF-8 cannot hold; it came from a processor."""
    return value.encode("utf-8", "replace").decode()


def _ms(value: datetime) -> str:
    return str(to_millis(value))


def _time(value: str) -> datetime:
    return from_millis(int(value))


def _object(value: str) -> Mapping[str, object]:
    found: object = json.loads(value)
    if not isinstance(found, dict):
        raise TypeError("no JSON object")
    return found  # pyright: ignore[reportUnknownVariableType] -- of JSON values


def _flag(value: bool) -> str:  # noqa: FBT001 - a value
    return str(int(value))


def _words(value: str) -> tuple[str, ...]:
    return tuple(value.split(","))


FIELDS = (
    Field("jobId", "job_id"),
    Field("type", "type"),
    Field("owner", "owner"),
    Field("status", "status", lambda status: str(status.value), JobStatus),
    Field("progress", "progress", load=int),
    Field("stage", "stage", text),
    Field("attempts", "attempts", load=int),
    Field("createdVersion", "created_version", load=int),
    Field("result", "result", as_json, _object),
    Field("createdAt", "created_at", timestamp, datetime.fromisoformat),
    Field("startedAt", "started_at", timestamp, datetime.fromisoformat),
    Field("finishedAt", "finished_at", timestamp, datetime.fromisoformat),
    Field("params", "params", as_json, _object),
    Field("priority", "priority", load=int, default=0),
    Field("queue", "queue"),
    Field("needs", "needs", ",".join, _words, default=()),
    Field("runAt", "run_at", _ms, _time),
    Field("expiresAt", "expires_at", _ms, _time),
    Field("updatedAt", "updated_at", _ms, _time),
    Field("leaseUntil", "lease_until", _ms, _time),
    Field("cancelRequestedAt", "cancel_requested_at", _ms, _time),
    Field("waitReason", "wait_reason", lambda reason: str(reason.value)),
    Field("maxAttempts", "max_attempts", load=int),
    Field("retryOf", "retry_of"),
    Field("rootJobId", "root_job_id"),
    Field("force", "force", _flag, lambda value: value == "1", default=False),
    Field("processorVersion", "processor_version", default=""),
    Field("token", "token"),
    Field("worker", "worker"),
    Field("reservedVersion", "reserved_version", load=int),
    Field("failures", "failures", load=int, default=0),
    Field("crashes", "crashes", load=int, default=0),
    Field("lost", "lost", load=int, default=0),
    Field("interrupts", "interrupts", load=int, default=0),
    Field("timeouts", "timeouts", load=int, default=0),
    Field("remote", "remote", as_json, lambda value: from_plain(RemoteOp, json.loads(value))),
)
"""One field each; inputs, error and history are below."""


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


def to_fields(job: Job) -> dict[str, str]:
    """Return the fields of a whole record but its history."""
    found = {
        field.name: field.dump(value) for field in FIELDS if (value := getattr(job, field.attribute)) != field.default
    }
    return {**found, **_input_fields(job.inputs), **_error_fields(job.error), "schema": str(SCHEMA)}


def changed_fields(before: Job, after: Job) -> dict[str, str | None]:
    """Return what differs, None for a field that is to go; inputs never change."""
    found: dict[str, str | None] = {}
    for field in FIELDS:
        value = getattr(after, field.attribute)
        if value is not getattr(before, field.attribute) and value != getattr(before, field.attribute):
            found[field.name] = None if value == field.default else field.dump(value)
    if after.error != before.error:
        found |= dict.fromkeys(_error_fields(before.error)) | _error_fields(after.error)
    return found


def _input_fields(inputs: Sequence[JobInput]) -> dict[str, str]:
    first = inputs[0]
    found = {"assetId": str(first.asset_id), "inputVersion": str(first.version)}
    if first.file is not None:
        found["inputFile"] = first.file
    if len(inputs) > 1 or first.port != SINGLE_PORT:
        found["inputs"] = json.dumps({taken.port: _input(taken) for taken in inputs}, separators=(",", ":"))
    return found


def _input(taken: JobInput) -> dict[str, object]:
    found: dict[str, object] = {"assetId": taken.asset_id, "version": taken.version}
    return found if taken.file is None else {**found, "file": taken.file}


def _error_fields(error: JobError | None) -> dict[str, str]:
    if error is None:
        return {}
    return {
        "errorCode": text(error.code),
        "errorMessage": text(error.message),
        "errorRetryable": _flag(error.retryable),
    }


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def to_raw(reply: Sequence[bytes]) -> dict[str, str]:
    """Return the reply of HGETALL as text; bytes that are no UTF-8 stay recognisably wrong."""
    parts = [part.decode("utf-8", "replace") for part in reply]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def load(job_id: JobId, raw: Raw, history: Sequence[bytes] = ()) -> StoredJob:
    """Return the record of a hash and its list of attempts; one that cannot be read as a failed job."""
    schema = _number(raw.get("schema"))
    try:
        return StoredJob(job=_job(job_id, raw, history), schema=schema, **_own(raw))
    except _UNREADABLE as exc:
        error = CorruptRecordError(f"The record of {job_id} cannot be read: {exc}", job_id=job_id)
        job = salvaged(job_id, raw, error)
        return StoredJob(job=job, schema=schema, is_corrupt=True, revision=_number(raw.get("rev")))


def salvaged(job_id: JobId, raw: Raw, exc: CorruptRecordError) -> Job:
    """Return a failed job with all that can be read of the record."""
    then = datetime.fromtimestamp(0, UTC)
    known: dict[str, Any] = {
        "owner": Owner(raw.get("owner", "")),
        "type": "",
        "inputs": (
            JobInput(asset_id=AssetId(raw.get("assetId", "")), version=max(1, _number(raw.get("inputVersion")))),
        ),
        "root_job_id": job_id,
        **dict.fromkeys(("created_at", "updated_at", "expires_at", "run_at"), then),
    }
    error = JobError(code=exc.code, message=exc.message)
    readable = _readable(raw)
    ended = {
        "job_id": job_id,
        "status": JobStatus.FAILED,
        "error": error,
        "lease_until": None,
        "wait_reason": None,
        "finished_at": readable.get("updated_at", then),
    }
    try:
        values: dict[str, Any] = {**known, **readable, **ended}
        return Job(**values)
    except _UNREADABLE:  # a field can be read but is out of its range: do without all of them
        values = {**known, **ended}
        return Job(**values)


def _job(job_id: JobId, raw: Raw, history: Sequence[bytes]) -> Job:
    values = {field.attribute: field.load(raw[field.name]) for field in FIELDS if field.name in raw}
    if values.get("job_id") != job_id:
        raise ValueError(f"it is that of {raw.get('jobId')!r}")
    return Job(**values, inputs=_inputs(raw), error=_error(raw), history=_history(history))


def _inputs(raw: Raw) -> tuple[JobInput, ...]:
    if "inputs" not in raw:
        first = JobInput(asset_id=AssetId(raw["assetId"]), version=int(raw["inputVersion"]), file=raw.get("inputFile"))
        return (first,)
    return tuple(
        JobInput(port=port, asset_id=AssetId(taken["assetId"]), version=taken["version"], file=taken.get("file"))
        for port, taken in json.loads(raw["inputs"]).items()
    )


def _error(raw: Raw) -> JobError | None:
    if "errorCode" not in raw:
        return None
    return JobError(code=raw["errorCode"], message=raw["errorMessage"], retryable=raw.get("errorRetryable") == "1")


def _history(history: Sequence[bytes]) -> tuple[Attempt, ...]:
    return tuple(from_plain(Attempt, json.loads(part)) for part in history)


def _own(raw: Raw) -> dict[str, Any]:
    return {
        "revision": int(raw["rev"]),
        "delivery": int(raw.get("delivery", "0")),
        "is_delayed": "delayed" in raw,
        "slots": raw.get("slots", ""),
        "suspect": int(raw.get("suspect", "0")),
    }


def _readable(raw: Raw) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in FIELDS:
        with suppress(*_UNREADABLE):
            found[field.attribute] = field.load(raw[field.name])
    with suppress(*_UNREADABLE):
        found["inputs"] = _inputs(raw)
    return found


def _number(value: str | None) -> int:
    return int(value) if value is not None and value.isdecimal() else 0
