"""The wire types: what JSON bodies look like, for the API and for `--json` output alike.

Names are camelCase, an absent value is an absent key and never null, times are RFC 3339 UTC with `Z`. The
functions at the end turn domain records into answers; `musproj.http.specs` turns requests into what the use
cases take. Nothing here knows the web framework.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from musproj.application import params, presets
from musproj.application.assets import AssetView
from musproj.application.assets import Download as SignedDownload
from musproj.application.uploads import UploadTicket as SignedUpload
from musproj.application.uploads_multipart import ReceivedParts as ArrivedParts
from musproj.application.uploads_multipart import SignedParts as PartsToSend
from musproj.domain import asset as domain_asset
from musproj.domain import job as domain_job
from musproj.domain import version as domain_version
from musproj.domain.asset import AssetStatus
from musproj.domain.job import FailureKind, JobStatus, WaitReason
from musproj.domain.remote import CostState, RemoteOp
from musproj.ports.assets import Page
from musproj.ports.processor import ProcessorSpec

T = TypeVar("T")

MAX_INT = 2**31 - 1
"""Of any number that a client names: every store and client language holds it."""
MAX_TEXT = 255
"""Of names and file names, in characters; of file names also in bytes of UTF-8 (see `specs`)."""
MAX_THEN = 16
MAX_PORTS = 16
MAX_PARTS = 1000
"""That one request may have signed."""


def whole(pattern: str) -> str:
    r"""Return a pattern for the whole text, for Python and for JSON Schema: Python's `$` lets a final `\n` pass."""
    return rf"^(?:{pattern})$(?!\n)"


_RESTRICTED_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"

Id = Annotated[str, Meta(pattern=whole("[A-Za-z0-9_-]{1,64}"))]
Number = Annotated[int, Meta(ge=1, le=MAX_INT)]
Seconds = Annotated[int, Meta(ge=1, le=MAX_INT, description="Seconds; clamped to what the store allows.")]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
TypeName = Annotated[str, Meta(pattern=whole("[a-z0-9_-]{1,32}"))]
FileName = Annotated[str, Meta(pattern=whole("[a-z0-9_-]{1,32}"))]
Sha256 = Annotated[str, Meta(pattern=whole("[0-9a-f]{64}"), description="Lower-case hex.")]
MediaType = Annotated[
    str, Meta(pattern=whole(rf"{_RESTRICTED_NAME}/{_RESTRICTED_NAME}(?: *; *[ -~]*)?"), max_length=MAX_TEXT)
]
Time = Annotated[datetime, Meta(tz=True)]
Params = Annotated[dict[str, Any], Meta(description="As the processor's JSON Schema says; at most 32 KiB.")]


# ── requests ─────────────────────────────────────────────────────────────────────────────────────


class Request(Struct, rename="camel", forbid_unknown_fields=True):
    """What a client sends: unknown keys and null are refused."""


class Nothing(Request, kw_only=True):
    """An empty object, or no body at all."""


class ThenJob(Request, kw_only=True):
    """A job on version 1 that the confirm submits; it names either a type or a preset."""

    type: TypeName | UnsetType = UNSET
    preset: TypeName | UnsetType = UNSET
    params: Params | UnsetType = UNSET


class UploadRequest(Request, kw_only=True):
    """What is going to be uploaded; what is declared here is signed, and checked at the confirm."""

    filename: Name | UnsetType = UNSET
    content_type: MediaType | UnsetType = UNSET
    size: Annotated[int, Meta(ge=1, le=2**53, description="Bytes.")] | UnsetType = UNSET
    sha256: Sha256 | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    expires_in: Seconds | UnsetType = UNSET
    then: Annotated[list[ThenJob], Meta(max_length=MAX_THEN)] | UnsetType = UNSET


class RenewRequest(Request, kw_only=True):
    """How long the fresh URL shall live."""

    expires_in: Seconds | UnsetType = UNSET


class PartsRequest(Request, kw_only=True):
    """The parts whose URLs are wanted, and how long these shall live."""

    part_numbers: Annotated[list[Number], Meta(min_length=1, max_length=MAX_PARTS, description="From 1 on.")]
    expires_in: Seconds | UnsetType = UNSET


class InputRef(Request, kw_only=True):
    """The version, and file of it, that a port takes; head and the primary file where not said."""

    asset_id: Id
    version: Number | UnsetType = UNSET
    file: FileName | UnsetType = UNSET


class JobRequest(Request, kw_only=True):
    """A job: a type or a preset, and `assetId` (with `inputVersion`, `inputFile`) for one input, or `inputs` by port."""

    type: TypeName | UnsetType = UNSET
    preset: Annotated[TypeName, Meta(description="Its params hold where `params` has none.")] | UnsetType = UNSET
    asset_id: Id | UnsetType = UNSET
    input_version: Number | UnsetType = UNSET
    input_file: FileName | UnsetType = UNSET
    inputs: Annotated[dict[str, InputRef], Meta(min_length=1, max_length=MAX_PORTS)] | UnsetType = UNSET
    params: Params | UnsetType = UNSET
    force: Annotated[bool, Meta(description="Run again even where an identical job is there.")] = False
    priority: Literal["normal", "high"] = "normal"
    run_at: Annotated[datetime, Meta(tz=True, description="Not before.")] | UnsetType = UNSET
    expires_at: Annotated[datetime, Meta(tz=True, description="Failed if it still waits then.")] | UnsetType = UNSET


class AssetPatch(Request, kw_only=True):
    """What shall change; an empty name removes it."""

    name: Annotated[str, Meta(max_length=MAX_TEXT)] | UnsetType = UNSET


class HeadRequest(Request, kw_only=True):
    """The version to promote."""

    version: Number


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


class Answer(Struct, rename="camel", gc=False):
    """What the API says; clients ignore keys that they do not know."""


class File(Answer, kw_only=True):
    """One audio file or attachment."""

    name: str
    kind: str
    object_key: str
    size: Annotated[int, Meta(description="Bytes.")]
    sha256: Sha256
    content_type: str
    duration: Annotated[float, Meta(description="Seconds.")] | UnsetType = UNSET
    sample_rate: Annotated[int, Meta(description="Hz.")] | UnsetType = UNSET
    channels: int | UnsetType = UNSET
    job_id: Annotated[str, Meta(description="Of an attachment: the job that made it.")] | UnsetType = UNSET
    created_at: Annotated[datetime, Meta(tz=True, description="Of an attachment.")] | UnsetType = UNSET


class ProvenanceInput(Answer, kw_only=True):
    """One input that a version was made from."""

    port: str
    asset_id: str
    version: int
    file: str
    sha256: Sha256


class ProvenanceStep(Answer, kw_only=True):
    """One processor of a chain."""

    processor: str
    processor_version: str
    params: dict[str, Any]


class ProvenanceModel(Answer, kw_only=True):
    """A model file that took part."""

    name: str
    sha256: Sha256


class Provenance(Answer, kw_only=True):
    """What is needed to make a version again."""

    job_id: str
    processor: str
    processor_version: str
    params: dict[str, Any]
    params_hash: str
    inputs: list[ProvenanceInput]
    libraries: dict[str, str]
    steps: Annotated[list[ProvenanceStep], Meta(description="Of a chain, in order.")] | UnsetType = UNSET
    models: list[ProvenanceModel] | UnsetType = UNSET


class Version(Answer, kw_only=True):
    """One immutable state of an asset; `objectKey` and `kind` are those of the first of `files`."""

    version: int
    kind: str
    object_key: str
    created_at: Time
    from_version: int | UnsetType = UNSET
    files: list[File]
    provenance: Provenance | UnsetType = UNSET


class UploadError(Answer, kw_only=True):
    """Why the last confirm failed."""

    code: str
    detail: str


class Asset(Answer, kw_only=True):
    """One recording; `versions` (the newest 20) is there in a single asset, never in a list."""

    asset_id: str
    status: AssetStatus
    created_at: Time
    name: str | UnsetType = UNSET
    latest_version: int | UnsetType = UNSET
    head: Annotated[int, Meta(description="What a plain download and a plain job take.")] | UnsetType = UNSET
    head_pinned: Annotated[bool, Meta(description="There where the head was promoted by hand.")] | UnsetType = UNSET
    version_count: int
    versions: list[Version] | UnsetType = UNSET
    upload_error: UploadError | UnsetType = UNSET
    purge_at: Annotated[datetime, Meta(tz=True, description="When a deleted asset is gone.")] | UnsetType = UNSET


class Multipart(Answer, kw_only=True):
    """How the file may be cut instead: equal parts from 1 to `partCount`, the last carries the rest."""

    part_size: Annotated[int, Meta(description="Bytes.")]
    part_count: int
    required: Annotated[bool, Meta(description="There where `url` does not take a file of this size.")] | UnsetType = (
        UNSET
    )


class UploadTicket(Answer, kw_only=True):
    """Send the file to `url` with `method` and exactly `headers`; a large one may come in parts."""

    asset_id: str
    status: AssetStatus
    version: int
    object_key: str
    method: Literal["PUT"]
    url: str
    headers: dict[str, str]
    expires_at: Time
    expires_in: Annotated[int, Meta(description="Seconds, for a device whose clock is wrong.")]
    multipart: Multipart | UnsetType = UNSET


class SignedPart(Answer, kw_only=True):
    """Send the part's bytes to `url` with `method` and exactly `headers`."""

    part_number: int
    method: Literal["PUT"]
    url: str
    headers: dict[str, str]
    expires_at: Time
    expires_in: Annotated[int, Meta(description="Seconds, for a device whose clock is wrong.")]


class SignedParts(Answer, kw_only=True):
    """The parts that were asked for, in that order."""

    part_size: Annotated[int, Meta(description="Bytes, of all but the last.")]
    part_count: int
    parts: list[SignedPart]


class ReceivedPart(Answer, kw_only=True):
    """A part that the store has taken."""

    part_number: int
    size: Annotated[int, Meta(description="Bytes.")]
    etag: str


class ReceivedParts(Answer, kw_only=True):
    """The parts that have arrived, by number; the others are still to be sent."""

    part_size: Annotated[int, Meta(description="Bytes, of all but the last.")]
    part_count: int
    parts: list[ReceivedPart]


class Download(Answer, kw_only=True):
    """Fetch the file from `url`."""

    asset_id: str
    version: int
    file: str
    object_key: str
    method: Literal["GET"]
    url: str
    expires_at: Time
    expires_in: Annotated[int, Meta(description="Seconds, for a device whose clock is wrong.")]
    content_type: str
    size: Annotated[int, Meta(description="Bytes.")]
    sha256: Sha256
    filename: str


class JobInput(Answer, kw_only=True):
    """The version, and file of it, that a port takes."""

    asset_id: str
    version: int
    file: str | UnsetType = UNSET


class JobError(Answer, kw_only=True):
    """What the job, or its last attempt, failed of."""

    code: str
    message: str
    retryable: bool


class Attempt(Answer, kw_only=True):
    """One ended attempt."""

    attempt: int
    kind: FailureKind
    code: str
    message: str
    at: Time
    seconds: float | UnsetType = UNSET
    worker: str | UnsetType = UNSET


class Cost(Answer, kw_only=True):
    """What an outside service is paid for a job."""

    service: str
    unit: Annotated[str, Meta(description="`credit_hour`, `minute`, …")]
    estimate: float
    actual: float | UnsetType = UNSET
    state: Annotated[CostState, Meta(description="`maybe`: its outcome is not known, or not yet.")]


class Job(Answer, kw_only=True):
    """One request for processing; `assetId`, `inputVersion`, `inputFile` are those of the first input."""

    job_id: str
    type: str
    asset_id: str
    input_version: int
    input_file: str | UnsetType = UNSET
    inputs: Annotated[dict[str, JobInput], Meta(description="By port, where there are several.")] | UnsetType = UNSET
    params: dict[str, Any]
    status: JobStatus
    progress: Annotated[int, Meta(ge=0, le=100, description="Whole percent; never falls within an attempt.")]
    stage: str | UnsetType = UNSET
    wait_reason: WaitReason | UnsetType = UNSET
    attempts: int
    created_version: int | UnsetType = UNSET
    result: dict[str, Any] | UnsetType = UNSET
    error: JobError | UnsetType = UNSET
    created_at: Time
    run_at: Annotated[datetime, Meta(tz=True, description="Of a delayed job.")] | UnsetType = UNSET
    started_at: Time | UnsetType = UNSET
    finished_at: Time | UnsetType = UNSET
    expires_at: Time
    cancel_requested_at: Time | UnsetType = UNSET
    retry_of: str | UnsetType = UNSET
    cost: Annotated[Cost, Meta(description="Of work that an outside service does.")] | UnsetType = UNSET
    attempt_log: Annotated[list[Attempt], Meta(description="With `include=attempts`.")] | UnsetType = UNSET


class Output(Answer, kw_only=True):
    """One file that a processor makes."""

    name: str
    kind: str


class Processor(Answer, kw_only=True):
    """What a job type takes and makes."""

    name: str
    version: str
    summary: str | UnsetType = UNSET
    publishes: Literal["version", "attachment", "result"]
    kind: Annotated[str, Meta(description="Of the version made.")] | UnsetType = UNSET
    moves_head: bool
    params: Annotated[dict[str, Any], Meta(description="JSON Schema, 2020-12.")]
    inputs: Annotated[list[str], Meta(description="Names of the ports.")]
    outputs: list[Output]


class AssetPage(Answer, kw_only=True):
    """A page of assets, newest first."""

    data: list[Asset]
    next_cursor: str | UnsetType = UNSET


class VersionPage(Answer, kw_only=True):
    """A page of versions by number."""

    data: list[Version]
    next_cursor: str | UnsetType = UNSET


class JobPage(Answer, kw_only=True):
    """A page of jobs, newest first."""

    data: list[Job]
    next_cursor: str | UnsetType = UNSET


class FileList(Answer, kw_only=True):
    """The attachments of a version, the latest of each name."""

    data: list[File]


class ProcessorList(Answer, kw_only=True):
    """The processors of this installation, by name."""

    data: list[Processor]


class Preset(Answer, kw_only=True):
    """A named job."""

    name: str
    type: str
    description: str | UnsetType = UNSET
    params: dict[str, Any]


class PresetList(Answer, kw_only=True):
    """The presets of this installation, by name."""

    data: list[Preset]


class Check(Answer, kw_only=True):
    """What one look at a part of the installation found."""

    ok: bool
    detail: str | UnsetType = UNSET


class Health(Answer, kw_only=True):
    """Whether the process, or with `checks` each part of the installation, works."""

    status: Literal["ok", "unavailable"]
    checks: Annotated[dict[str, Check], Meta(description="Only with the key where one is set.")] | UnsetType = UNSET


class ProblemPlace(Answer, kw_only=True):
    """One wrong place of a request."""

    pointer: Annotated[str, Meta(description="RFC 6901, into the body.")] | UnsetType = UNSET
    parameter: Annotated[str, Meta(description="Name in the path, the query or the headers.")] | UnsetType = UNSET
    code: str
    detail: str


class Problem(Answer, kw_only=True):
    """An error as RFC 9457 says; programs look at `code`. Further keys carry the values at fault."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    hint: str | UnsetType = UNSET
    instance: str
    request_id: str
    retryable: bool
    errors: list[ProblemPlace] | UnsetType = UNSET


# ── from the domain ──────────────────────────────────────────────────────────────────────────────


def to_asset(asset: domain_asset.Asset, versions: Iterable[domain_version.Version] | None = None) -> Asset:
    """Return the wire form of an asset; `versions` are shown where given."""
    error = asset.upload.error
    return Asset(
        asset_id=asset.asset_id,
        status=asset.status,
        created_at=asset.created_at,
        name=_known(asset.name),
        latest_version=_known(asset.latest_version),
        head=_known(asset.head),
        head_pinned=True if asset.head_pinned else UNSET,
        version_count=asset.version_count,
        versions=UNSET if versions is None else [to_version(version) for version in versions],
        upload_error=UNSET if error is None else UploadError(code=error.code, detail=error.detail),
        purge_at=_known(asset.purge_at),
    )


def to_asset_view(view: AssetView) -> Asset:
    """Return the wire form of an asset with its newest versions."""
    return to_asset(view.asset, view.versions)


def to_version(version: domain_version.Version) -> Version:
    """Return the wire form of a version, with its provenance where the record carries one."""
    primary = version.primary
    return Version(
        version=version.number,
        kind=version.kind,
        object_key=primary.object_key,
        created_at=version.created_at,
        from_version=_known(version.from_version),
        files=[to_file(file) for file in version.files],
        provenance=UNSET if version.provenance is None else _provenance(version.provenance),
    )


def to_file(file: domain_version.File) -> File:
    """Return the wire form of a version's file."""
    return File(
        name=file.name,
        kind=file.kind,
        object_key=file.object_key,
        size=file.size_bytes,
        sha256=file.sha256,
        content_type=file.content_type,
        duration=_known(file.duration),
        sample_rate=_known(file.sample_rate),
        channels=_known(file.channels),
    )


def to_attachment(attachment: domain_version.Attachment) -> File:
    """Return the wire form of an attachment: its file, and what made it when."""
    file = attachment.file
    return File(
        name=file.name,
        kind=file.kind,
        object_key=file.object_key,
        size=file.size_bytes,
        sha256=file.sha256,
        content_type=file.content_type,
        duration=_known(file.duration),
        sample_rate=_known(file.sample_rate),
        channels=_known(file.channels),
        job_id=attachment.job_id,
        created_at=attachment.created_at,
    )


def to_attachments(attachments: Sequence[domain_version.Attachment]) -> FileList:
    """Return the wire form of a version's attachments."""
    return FileList(data=[to_attachment(attachment) for attachment in attachments])


def to_ticket(ticket: SignedUpload, now: datetime) -> UploadTicket:
    """Return the wire form of an upload ticket as it is at `now`."""
    signed = ticket.signed
    return UploadTicket(
        asset_id=ticket.asset.asset_id,
        status=ticket.asset.status,
        version=1,
        object_key=ticket.asset.upload.object_key,
        method="PUT",
        url=signed.url,
        headers=dict(signed.headers),
        expires_at=signed.expires_at,
        expires_in=_seconds_until(signed.expires_at, now),
        multipart=_multipart(ticket),
    )


def to_signed_parts(signed: PartsToSend, now: datetime) -> SignedParts:
    """Return the wire form of signed parts as they are at `now`."""
    return SignedParts(
        part_size=signed.plan.part_size,
        part_count=signed.plan.part_count,
        parts=[
            SignedPart(
                part_number=part.number,
                method="PUT",
                url=part.signed.url,
                headers=dict(part.signed.headers),
                expires_at=part.signed.expires_at,
                expires_in=_seconds_until(part.signed.expires_at, now),
            )
            for part in signed.parts
        ],
    )


def to_received_parts(received: ArrivedParts) -> ReceivedParts:
    """Return the wire form of the parts that have arrived."""
    return ReceivedParts(
        part_size=received.plan.part_size,
        part_count=received.plan.part_count,
        parts=[ReceivedPart(part_number=part.number, size=part.size_bytes, etag=part.etag) for part in received.parts],
    )


def to_download(download: SignedDownload, now: datetime) -> Download:
    """Return the wire form of a signed download as it is at `now`."""
    signed, file = download.signed, download.file
    return Download(
        asset_id=download.asset_id,
        version=download.version,
        file=file.name,
        object_key=file.object_key,
        method="GET",
        url=signed.url,
        expires_at=signed.expires_at,
        expires_in=_seconds_until(signed.expires_at, now),
        content_type=file.content_type,
        size=file.size_bytes,
        sha256=file.sha256,
        filename=download.filename,
    )


def to_job(job: domain_job.Job, *, with_attempts: bool = False) -> Job:
    """Return the wire form of a job; `with_attempts` adds the log of its ended attempts."""
    first, *others = job.inputs
    failed = job.error if job.status is not JobStatus.SUCCEEDED else None
    return Job(
        job_id=job.job_id,
        type=job.type,
        asset_id=first.asset_id,
        input_version=first.version,
        input_file=_known(first.file),
        inputs={taken.port: _job_input(taken) for taken in job.inputs} if others else UNSET,
        params=_plain(job.params),
        status=job.status,
        progress=job.progress,
        stage=_known(job.stage),
        wait_reason=_known(job.wait_reason),
        attempts=job.attempts,
        created_version=_known(job.created_version),
        result=UNSET if job.result is None else _plain(job.result),
        error=UNSET if failed is None else _job_error(failed),
        created_at=job.created_at,
        run_at=UNSET if job.is_terminal or job.run_at == job.created_at else job.run_at,
        started_at=_known(job.started_at),
        finished_at=_known(job.finished_at),
        expires_at=job.expires_at,
        cancel_requested_at=_known(job.cancel_requested_at),
        retry_of=_known(job.retry_of),
        cost=UNSET if job.remote is None else _cost(job.remote),
        attempt_log=[_attempt(attempt) for attempt in job.history] if with_attempts else UNSET,
    )


def to_processor(spec: ProcessorSpec) -> Processor:
    """Return the wire form of a processor's declaration."""
    return Processor(
        name=spec.name,
        version=spec.version,
        summary=spec.summary or UNSET,
        publishes=spec.publishes,
        kind=spec.outputs[0].kind if spec.publishes == "version" and spec.outputs else UNSET,
        moves_head=spec.moves_head,
        params=params.schema(spec.params),
        inputs=[port.name for port in spec.inputs],
        outputs=[Output(name=port.name, kind=port.kind) for port in spec.outputs],
    )


def to_processors(specs: Iterable[ProcessorSpec]) -> ProcessorList:
    """Return the wire form of the processors of an installation."""
    return ProcessorList(data=[to_processor(spec) for spec in specs])


def to_preset(preset: presets.Preset) -> Preset:
    """Return the wire form of a preset."""
    return Preset(
        name=preset.name, type=preset.type, description=preset.description or UNSET, params=_plain(preset.params)
    )


def to_presets(found: Iterable[presets.Preset]) -> PresetList:
    """Return the wire form of the presets of an installation."""
    return PresetList(data=[to_preset(one) for one in sorted(found, key=lambda one: one.name)])


def to_asset_page(page: Page[domain_asset.Asset]) -> AssetPage:
    """Return the wire form of a page of assets."""
    return AssetPage(data=[to_asset(asset) for asset in page.items], next_cursor=_known(page.next_cursor))


def to_version_page(page: Page[domain_version.Version]) -> VersionPage:
    """Return the wire form of a page of versions."""
    return VersionPage(data=[to_version(version) for version in page.items], next_cursor=_known(page.next_cursor))


def to_job_page(page: Page[domain_job.Job]) -> JobPage:
    """Return the wire form of a page of jobs."""
    return JobPage(data=[to_job(job) for job in page.items], next_cursor=_known(page.next_cursor))


def _multipart(ticket: SignedUpload) -> Multipart | UnsetType:
    plan = ticket.asset.upload.multipart
    if plan is None:
        return UNSET
    required = True if ticket.needs_parts else UNSET
    return Multipart(part_size=plan.part_size, part_count=plan.part_count, required=required)


def _known(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


def _plain(value: Mapping[str, object]) -> dict[str, Any]:
    return value if isinstance(value, dict) else dict(value)


def _seconds_until(then: datetime, now: datetime) -> int:
    return max(0, round((then - now).total_seconds()))


def _job_input(taken: domain_job.JobInput) -> JobInput:
    return JobInput(asset_id=taken.asset_id, version=taken.version, file=_known(taken.file))


def _job_error(error: domain_job.JobError) -> JobError:
    return JobError(code=error.code, message=error.message, retryable=error.retryable)


def _cost(op: RemoteOp) -> Cost:
    cost = op.cost
    return Cost(
        service=op.service, unit=cost.unit, estimate=cost.estimate, actual=_known(cost.actual), state=cost.state
    )


def _attempt(attempt: domain_job.Attempt) -> Attempt:
    return Attempt(
        attempt=attempt.attempt,
        kind=attempt.kind,
        code=attempt.code,
        message=attempt.message,
        at=attempt.at,
        seconds=_known(attempt.seconds),
        worker=_known(attempt.worker),
    )


def _provenance(provenance: domain_version.Provenance) -> Provenance:
    return Provenance(
        job_id=provenance.job_id,
        processor=provenance.processor,
        processor_version=provenance.processor_version,
        params=_plain(provenance.params),
        params_hash=provenance.params_hash,
        inputs=[
            ProvenanceInput(
                port=taken.port,
                asset_id=taken.asset_id,
                version=taken.version,
                file=taken.file,
                sha256=taken.sha256,
            )
            for taken in provenance.inputs
        ],
        libraries=dict(provenance.libraries),
        steps=[
            ProvenanceStep(
                processor=step.processor, processor_version=step.processor_version, params=_plain(step.params)
            )
            for step in provenance.steps
        ]
        if provenance.steps
        else UNSET,
        models=[ProvenanceModel(name=model.name, sha256=model.sha256) for model in provenance.models]
        if provenance.models
        else UNSET,
    )
