"""Valid records for tests: each function fills in everything, and takes what a test cares about."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from musproj.domain.asset import FIRST_LOOK, Asset, Upload
from musproj.domain.canonical import digest
from musproj.domain.ids import DEFAULT_OWNER, Owner, new_asset_id, new_job_id
from musproj.domain.job import DEFAULT_LIFETIME, Job, JobInput, WaitReason
from musproj.domain.keys import attachment_key, file_key
from musproj.domain.ledger import Worker
from musproj.domain.remote import Cost, RemoteOp, operation_token
from musproj.domain.version import Attachment, File, Provenance, ProvenanceInput, Version
from musproj.ports.jobs import LiveWorker

SOMEBODY_ELSE = Owner("somebody-else")
URL_LIFE = timedelta(hours=1)


def new_asset(now: datetime, *, owner: Owner = DEFAULT_OWNER, **changes: Any) -> Asset:
    """Return a pending asset as an upload request makes it."""
    asset_id = new_asset_id(now)
    upload = Upload(
        object_key=file_key(asset_id, 1, "source", "wav"),
        content_type="audio/wav",
        filename="take one.wav",
        expires_at=now + URL_LIFE,
        next_look=now + FIRST_LOOK,
    )
    return attrs.evolve(Asset(asset_id=asset_id, owner=owner, created_at=now, upload=upload), **changes)


def new_file(asset: Asset, number: int, name: str = "source", *, kind: str | None = None, text: str = "") -> File:
    """Return the record of a WAV file; its hash is that of `text`, which is its name where none is given."""
    sha256 = hashlib.sha256((text or f"{asset.asset_id}/{number}/{name}").encode()).hexdigest()
    return File(
        name=name,
        kind=kind or name,
        object_key=file_key(asset.asset_id, number, name, "wav"),
        size_bytes=96_044,
        sha256=sha256,
        etag=sha256[:32],
        content_type="audio/wav",
        duration=0.5,
        sample_rate=48_000,
        channels=2,
    )


def source_version(asset: Asset, now: datetime) -> Version:
    """Return version 1 as a confirm publishes it."""
    return Version(number=1, kind="source", files=(new_file(asset, 1),), created_at=now)


def new_job(asset: Asset, now: datetime, job_type: str = "enhance", **changes: Any) -> Job:
    """Return a queued job on version 1 of `asset`, or on the `inputs` given; `delay` is a timedelta."""
    job_id = new_job_id(now)
    delay: timedelta = changes.pop("delay", timedelta(0))
    job = Job(
        job_id=job_id,
        root_job_id=job_id,
        type=job_type,
        owner=asset.owner,
        inputs=(JobInput(asset_id=asset.asset_id, version=1),),
        params={"strength": 0.5, "target_lufs": -16},
        processor_version="1.0.0",
        created_at=now,
        updated_at=now,
        expires_at=now + DEFAULT_LIFETIME,
        run_at=now + delay,
        wait_reason=WaitReason.DELAY if delay else None,
    )
    return attrs.evolve(job, **changes)


def new_op(job: Job, **changes: Any) -> RemoteOp:
    """Return what `job` plans to have done by an outside service: nothing is there yet, and nothing was paid."""
    op = RemoteOp(
        service="auphonic",
        account="default",
        token=operation_token(job.root_job_id),
        request_digest=digest(job.params),
        cost=Cost(unit="credit_hour", estimate=0.5),
    )
    return attrs.evolve(op, **changes)


def new_provenance(job: Job, *, text: str = "") -> Provenance:
    """Return what a worker writes of how `job` made something; `text` stands for the bytes of its inputs."""
    return Provenance(
        job_id=job.job_id,
        processor=job.type,
        processor_version=job.processor_version,
        params=job.params,
        inputs=tuple(
            ProvenanceInput(
                port=taken.port,
                asset_id=taken.asset_id,
                version=taken.version,
                file=taken.file or "source",
                sha256=hashlib.sha256((text or f"{taken.asset_id}/{taken.version}").encode()).hexdigest(),
            )
            for taken in job.inputs
        ),
        libraries={"python": "3.11.7"},
    )


def made_version(
    asset: Asset,
    job: Job,
    number: int,
    now: datetime,
    *,
    names: Sequence[str] = ("enhanced",),
    text: str = "",
) -> Version:
    """Return version `number` as `job` publishes it, with a file for each name."""
    return Version(
        number=number,
        kind=names[0],
        files=tuple(new_file(asset, number, name) for name in names),
        created_at=now,
        from_version=job.input_version,
        provenance=new_provenance(job, text=text),
    )


def made_attachment(asset: Asset, job: Job, now: datetime, name: str = "peaks") -> Attachment:
    """Return an attachment of the job's input version."""
    key = attachment_key(asset.asset_id, job.input_version, name, job.job_id, "json")
    file = attrs.evolve(
        new_file(asset, job.input_version, name, text=job.job_id),
        object_key=key,
        content_type="application/json",
        duration=None,
        sample_rate=None,
        channels=None,
    )
    return Attachment(
        version=job.input_version, file=file, job_id=job.job_id, created_at=now, provenance=new_provenance(job)
    )


def new_worker(
    worker_id: str = "host:1:boot",
    types: Sequence[str] = ("enhance", "separate", "waveform", "analyze"),
    *,
    abilities: Sequence[str] = (),
    limits: dict[str, int] | None = None,
) -> Worker:
    """Return a worker that can run the usual types."""
    return Worker(worker_id=worker_id, types=frozenset(types), abilities=frozenset(abilities), limits=limits or {})


def live_worker(worker: Worker, seen_at: datetime) -> LiveWorker:
    """Return the sign of life of `worker`."""
    return LiveWorker(
        worker_id=worker.worker_id,
        host="host",
        pid=1,
        types=worker.types,
        abilities=worker.abilities,
        concurrency=1,
        seen_at=seen_at,
    )
