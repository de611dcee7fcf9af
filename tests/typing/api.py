"""Uses the whole public API as a user's type checker sees it; checked, never run."""

from collections.abc import Mapping
from pathlib import Path

from musproj import (
    DEFAULT_OWNER,
    Asset,
    AssetFilter,
    AssetId,
    AssetStatus,
    AssetView,
    Attachment,
    AudioInfo,
    Context,
    Download,
    File,
    Idempotency,
    InputFile,
    InputRef,
    Job,
    JobError,
    JobFilter,
    JobId,
    JobInput,
    JobSpec,
    JobStatus,
    MusProj,
    MusProjError,
    Outcome,
    Owner,
    Page,
    Port,
    Processor,
    ProcessorSpec,
    Provenance,
    ReceivedParts,
    Settings,
    SignedParts,
    SignedRequest,
    ThenRequest,
    UploadSpec,
    UploadTicket,
    Version,
)
from musproj.adapters.local.assets import LocalAssetStore
from musproj.adapters.local.jobs import LocalJobStore
from musproj.adapters.local.plugin import open_metadata, open_queue, open_storage
from musproj.adapters.local.queue import LocalJobQueue
from musproj.adapters.local.signing import LocalSigner
from musproj.adapters.local.storage import LocalStorage
from musproj.adapters.memory import MemoryAssetStore, MemoryJobQueue, MemoryJobStore, MemoryStorage
from musproj.adapters.redis import plugin as redis_plugin
from musproj.adapters.redis.assets import RedisAssetStore
from musproj.adapters.redis.jobs import RedisJobStore
from musproj.adapters.rq import plugin as rq_plugin
from musproj.adapters.rq.queue import RqQueue
from musproj.adapters.s3 import plugin as s3_plugin
from musproj.adapters.s3.multipart import S3MultipartUploads
from musproj.adapters.s3.signed_urls import S3SignedUrls
from musproj.adapters.s3.storage import S3Storage
from musproj.adapters.system import SystemClock
from musproj.application.catalog import Catalog
from musproj.domain.ledger import Worker
from musproj.ports.assets import AssetStore
from musproj.ports.clock import Clock
from musproj.ports.jobs import JobStore
from musproj.ports.plugin import MetadataPlugin, QueuePlugin, StoragePlugin
from musproj.ports.queue import JobQueue
from musproj.ports.storage import LocalFiles, MultipartUploads, SignedUrls, Storage
from musproj.registry import ProcessorCatalog
from musproj.testing.clock import FakeClock
from musproj.testing.parts import FakeMultipartUploads


class Reverse:
    """A third party's processor, without inheriting anything."""

    spec = ProcessorSpec(name="reverse", version="1", params=dict, outputs=(Port("reversed", "reversed"),))

    def run(self, inputs: Mapping[str, InputFile], params: object, ctx: Context) -> Outcome:
        ctx.progress(0.5, "halfway")
        ctx.check()
        ctx.warn("clipped", "3 samples", clippedSamples=3)
        return Outcome(files={"reversed": ctx.workdir / "out.wav"}, data={"frames": 1})


def embed(path: Path) -> None:
    processor: Processor = Reverse()
    with MusProj.open(Settings(), processors=[processor], clock=SystemClock()) as mp:
        owner = Owner("ada")
        ticket: UploadTicket = mp.uploads.request(owner, UploadSpec(then=(ThenRequest(type="reverse"),)))
        headers: Mapping[str, str] = ticket.signed.headers
        parts: SignedParts = mp.uploads.sign_parts(owner, ticket.asset.asset_id, [1, 2])
        arrived: ReceivedParts = mp.uploads.received_parts(owner, ticket.asset.asset_id)
        asset: Asset = mp.uploads.confirm(owner, ticket.asset.asset_id)
        local: Asset = mp.uploads.put_file(DEFAULT_OWNER, path, name="take")
        spec = JobSpec(type="reverse", inputs={"input": InputRef(asset_id=local.asset_id, version=1)})
        job: Job = mp.jobs.submit(owner, spec).job
        job = mp.jobs.wait(owner, job.job_id, timeout=1.5)
        if job.status is JobStatus.FAILED and job.error is not None:
            raise SystemExit(job.error.message)
        view: AssetView = mp.assets.get(owner, AssetId("ast_1"))
        version: Version = mp.assets.version(owner, asset.asset_id, "latest")
        made_by: Provenance | None = version.provenance
        file: File = version.primary
        page: Page[Asset] = mp.assets.list(owner, limit=5)
        download: Download = mp.assets.download(owner, asset.asset_id, version.number, file=file.name)
        attached: list[Attachment] = list(mp.assets.attachments(owner, asset.asset_id, 1))
        ready: Page[Asset] = mp.assets.list(owner, AssetFilter(status=AssetStatus.READY))
        jobs: Page[Job] = mp.jobs.list(owner, JobFilter(asset_id=asset.asset_id))
        inputs: tuple[JobInput, ...] = job.inputs
        error: JobError | None = job.error
        signed: SignedRequest = download.signed
        again = mp.jobs.submit(owner, spec, Idempotency(key="k", body_hash="h"))
        info: AudioInfo = mp.probe.probe(path)
        try:
            mp.jobs.cancel(owner, JobId("job_1"))
        except MusProjError as exc:
            code: str = exc.code
            _ = code
        _ = (ready, jobs, inputs, error, signed, again, info, parts, arrived)
        _ = (headers, view, made_by, page.next_cursor, download.signed.url, attached)


def each_adapter_fills_its_port(
    local: tuple[LocalAssetStore, LocalJobStore, LocalJobQueue, LocalStorage, LocalSigner],
    memory: tuple[MemoryAssetStore, MemoryJobStore, MemoryJobQueue, MemoryStorage],
    remote: tuple[RedisAssetStore, RedisJobStore, RqQueue, S3Storage, S3SignedUrls, S3MultipartUploads],
) -> None:
    assets: list[AssetStore] = [local[0], memory[0], remote[0]]
    jobs: list[JobStore] = [local[1], memory[1], remote[1]]
    queues: list[JobQueue] = [local[2], memory[2], remote[2]]
    storages: list[Storage] = [local[3], memory[3], remote[3]]
    files: LocalFiles = local[3]
    signed: list[SignedUrls] = [local[4], remote[4]]
    parts: list[MultipartUploads] = [FakeMultipartUploads(memory[3], FakeClock()), remote[5]]
    clocks: list[Clock] = [SystemClock(), FakeClock()]
    catalog: Catalog = ProcessorCatalog()
    storage_plugins: list[StoragePlugin] = [open_storage, s3_plugin.open_storage]
    metadata_plugins: list[MetadataPlugin] = [open_metadata, redis_plugin.open_metadata]
    queue_plugins: list[QueuePlugin] = [open_queue, rq_plugin.open_queue]
    plugins = (storage_plugins, metadata_plugins, queue_plugins)
    worker = Worker(worker_id="host:1:boot", types=catalog.runnable())
    _ = (assets, jobs, queues, storages, files, signed, parts, clocks, plugins, worker)
