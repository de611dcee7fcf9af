"""Which column holds which field of the records."""

import hashlib
import json
import sqlite3
from datetime import UTC, datetime
from typing import Any

from musproj.adapters.local.table import Column, Row, Table, as_json, flag, mapping, names, record, records, time
from musproj.codec import from_plain
from musproj.domain.asset import Asset, Upload
from musproj.domain.ids import AssetId, JobId, Owner
from musproj.domain.job import Attempt, Job, JobError, JobInput, JobStatus
from musproj.domain.remote import RemoteOp
from musproj.domain.times import from_millis, to_millis
from musproj.domain.version import Attachment, File, Provenance, Version
from musproj.errors import CorruptRecordError
from musproj.ports.jobs import LiveWorker

ASSETS: Table[Asset] = Table(
    "asset",
    Asset,
    (
        Column("id", "asset_id"),
        Column("owner", "owner"),
        time("created_at"),
        Column("status", "status", str),
        Column("name", "name"),
        Column("latest", "latest_version"),
        Column("head", "head"),
        flag("head_pinned"),
        Column("seq", "sequence"),
        Column("version_count", "version_count"),
        Column("revision", "revision"),
        time("deleted_at"),
        time("purge_at"),
        record("upload", Upload),
        Column("next_look", "upload", lambda upload: upload.next_look and to_millis(upload.next_look), is_read=False),
    ),
)

JOBS: Table[Job] = Table(
    "job",
    Job,
    (
        Column("id", "job_id"),
        Column("owner", "owner"),
        Column("type", "type"),
        Column("queue", "queue"),
        names("needs"),
        Column("priority", "priority"),
        Column("status", "status", str),
        Column("wait_reason", "wait_reason", str),
        time("run_at"),
        time("expires_at"),
        time("lease_until"),
        Column("token", "token"),
        Column("worker", "worker"),
        time("cancel_requested_at"),
        Column("progress", "progress"),
        Column("stage", "stage"),
        Column("attempts", "attempts"),
        Column("max_attempts", "max_attempts"),
        Column("failures", "failures"),
        Column("crashes", "crashes"),
        Column("lost", "lost"),
        Column("interrupts", "interrupts"),
        Column("timeouts", "timeouts"),
        Column("reserved_version", "reserved_version"),
        Column("created_version", "created_version"),
        time("created_at"),
        time("started_at"),
        time("finished_at"),
        time("updated_at"),
        Column("retry_of", "retry_of"),
        Column("root_id", "root_job_id"),
        flag("forced", "force"),
        Column("processor_version", "processor_version"),
        records("inputs", JobInput),
        mapping("params"),
        mapping("result"),
        record("error", JobError),
        records("history", Attempt),
        record("remote", RemoteOp),
    ),
    derived={
        "asset_id": lambda job: job.asset_id,
        "input_version": lambda job: job.input_version,
        "dedupe": lambda job: job.dedupe_key,
    },
)


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────


def read_job(connection: sqlite3.Connection, row: Row) -> Job:
    """Return the job of a row, as failed with `corrupt_record` where the row cannot be read."""
    try:
        return JOBS.load(row)
    except CorruptRecordError as exc:
        return _salvaged(connection, row, exc)


def _salvaged(connection: sqlite3.Connection, row: Row, exc: CorruptRecordError) -> Job:
    job_id = JobId(row[0])
    where = connection.execute("SELECT asset_id, input_version FROM job WHERE id = ?", (job_id,)).fetchone()
    then = datetime.fromtimestamp(0, UTC)
    known: dict[str, Any] = {
        "owner": Owner(row[1]),
        "type": "",
        "inputs": (JobInput(asset_id=AssetId(where[0]), version=max(1, where[1])),),
        "root_job_id": job_id,
        **dict.fromkeys(("created_at", "updated_at", "expires_at", "run_at"), then),
    }
    error = JobError(code=exc.code, message=exc.message)
    ended = {"job_id": job_id, "status": JobStatus.FAILED, "error": error, "lease_until": None, "wait_reason": None}
    for fields in (JOBS.readable(row), {}):
        try:
            values: dict[str, Any] = {**known, **fields, **ended, "finished_at": fields.get("updated_at", then)}
            salvaged = Job(**values)
        except (ValueError, TypeError):
            continue  # a field can be read but is out of its range: do without all of them
        return salvaged
    raise exc


# ── versions and attachments ─────────────────────────────────────────────────────────────────────

VERSION = "SELECT n, kind, created_at, from_version, files, NULL FROM version"
VERSION_WITH_PROVENANCE = "SELECT n, kind, created_at, from_version, files, provenance FROM version"


def read_version(row: Row) -> Version:
    """Return the version of a row of `VERSION` or `VERSION_WITH_PROVENANCE`.

    Raises:
        CorruptRecordError: it cannot be read.
    """
    number, kind, created_at, from_version, files, provenance = row
    try:
        return Version(
            number=number,
            kind=kind,
            files=tuple(from_plain(File, part) for part in json.loads(files)),
            created_at=from_millis(created_at),
            from_version=from_version,
            provenance=from_plain(Provenance, json.loads(provenance)) if provenance else None,
        )
    except (ValueError, TypeError) as exc:
        raise CorruptRecordError(f"Version {number!r} cannot be read: {exc}", version=number) from exc


def insert_version(
    connection: sqlite3.Connection, asset: Asset, version: Version, *, job_id: JobId | None, moves_head: bool
) -> None:
    """Add a version of `asset`, made by `job_id`."""
    provenance = version.provenance
    connection.execute(
        """
        INSERT INTO version(asset_id, n, owner, kind, created_at, from_version, job_id, moves_head, reuse, files,
                            provenance)
        VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (
            asset.asset_id,
            version.number,
            asset.owner,
            version.kind,
            to_millis(version.created_at),
            version.from_version,
            job_id,
            int(moves_head),
            provenance.reuse_key if provenance else None,
            as_json(version.files),
            as_json(provenance) if provenance else None,
        ),
    )


def read_attachment(row: Row) -> Attachment:
    """Return the attachment of a row `(record)`.

    Raises:
        CorruptRecordError: it cannot be read.
    """
    try:
        return from_plain(Attachment, json.loads(row[0]))
    except ValueError as exc:
        raise CorruptRecordError(f"An attachment cannot be read: {exc}") from exc


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────

WORKER = "SELECT id, host, pid, types, abilities, concurrency, seen_at FROM worker"


def read_worker(row: Row) -> LiveWorker:
    """Return the worker of a row of `WORKER`."""
    worker_id, host, pid, types, abilities, concurrency, seen_at = row
    return LiveWorker(
        worker_id=worker_id,
        host=host,
        pid=pid,
        types=frozenset(json.loads(types)),
        abilities=frozenset(json.loads(abilities)),
        concurrency=concurrency,
        seen_at=from_millis(seen_at),
    )


def hidden(key: str) -> str:
    """Return the form in which a client's key is stored: of one length, whatever it holds."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
