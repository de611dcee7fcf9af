"""Uploads: request a signed URL, confirm what arrived, and look after what nobody confirmed."""

import io
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path

import attrs

from musproj.application import params
from musproj.application.catalog import Catalog
from musproj.application.verify import Verifier
from musproj.domain import media
from musproj.domain.asset import FIRST_LOOK, URL_GRACE, Asset, AssetStatus, ThenJob, Upload, UploadError
from musproj.domain.ids import AssetId, Owner, new_asset_id, new_job_id, new_token
from musproj.domain.job import DEFAULT_LIFETIME, SINGLE_PORT, Job, JobInput
from musproj.domain.keys import file_key
from musproj.domain.version import File, Version
from musproj.errors import (
    AssetNotReadyError,
    ConfigurationError,
    ConflictError,
    InvalidError,
    MusProjError,
    ObjectMissingError,
    PayloadTooLargeError,
    ProcessingError,
    UnavailableError,
    UploadMismatchError,
    UploadMissingError,
    Violation,
)
from musproj.ports.assets import AssetStore, Idempotency
from musproj.ports.clock import Clock
from musproj.ports.storage import SignedRequest, SignedUrls, Storage

log = logging.getLogger(__name__)

SOURCE = "source"
CLAIM_LIFE = timedelta(seconds=60)
MIN_UPLOAD_LIFE = timedelta(seconds=60)
MAX_UPLOAD_LIFE = timedelta(days=7)
"""Of any presigned URL (R2 docs, presigned URLs)."""
FAILED_LIFE = timedelta(days=7)
"""How long an upload that failed its checks is kept for whoever wants to look at it."""
SWEEP_PAGE = 50


@attrs.frozen(kw_only=True)
class UploadPolicy:
    """What this installation lets in."""

    max_bytes: int
    max_duration_s: float
    url_life: timedelta = timedelta(hours=1)
    auto_confirm: bool = True
    """Whether the sweep confirms what arrived without a confirm."""


@attrs.frozen(kw_only=True)
class ThenRequest:
    """A job to submit on version 1 with the confirm."""

    type: str
    params: Mapping[str, object] = attrs.field(factory=dict[str, object])


@attrs.frozen(kw_only=True)
class UploadSpec:
    """An upload as a client announces it; nothing of it is trusted."""

    filename: str | None = None
    content_type: str | None = None
    size: int | None = None
    sha256: str | None = None
    """Lower-case hex."""
    name: str | None = None
    expires_in: timedelta | None = None
    then: tuple[ThenRequest, ...] = ()


@attrs.frozen(kw_only=True)
class UploadTicket:
    """Where to put the bytes; the signed headers are to be sent exactly."""

    asset: Asset
    signed: SignedRequest
    replayed: bool = False


@attrs.frozen(kw_only=True)
class Uploads:
    """What a client can do with uploads; every id of another owner is an unknown id."""

    assets: AssetStore
    storage: Storage
    signed_urls: SignedUrls | None
    verifier: Verifier
    catalog: Catalog
    clock: Clock
    policy: UploadPolicy
    queue_name: str = "audio-jobs"
    job_lifetime: timedelta = DEFAULT_LIFETIME

    def request(self, owner: Owner, spec: UploadSpec, idempotency: Idempotency | None = None) -> UploadTicket:
        """Create a pending asset and sign the PUT of its source file.

        Raises:
            InvalidError: size or sha256 is out of range, or the store needs the size.
            PayloadTooLargeError: the declared size is over the policy.
            UnknownJobTypeError: a job of `then` has no processor.
            InvalidParamsError: its parameters are wrong.
            IdempotencyMismatchError: the key was used with another request.
            ConfigurationError: the storage cannot sign URLs.
        """
        signer = self._signer()
        self._check(spec, needs_size=signer.needs_size)
        now = self.clock.now()
        life = _clamp(spec.expires_in or self.policy.url_life)
        asset, is_new = self.assets.create(self._pending(owner, spec, life), idempotency)
        if not is_new:
            asset = self.assets.renew_upload(owner, asset.asset_id, now + life) if _is_pending(asset) else asset
        return UploadTicket(asset=asset, signed=self._sign(asset, life), replayed=not is_new)

    def renew(self, owner: Owner, asset_id: AssetId, *, expires_in: timedelta | None = None) -> UploadTicket:
        """Sign a fresh URL for a pending upload.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            ConflictError: it is ready or deleted, or something lies under its key already.
        """
        asset = self.assets.get(owner, asset_id)
        try:
            self.storage.stat(asset.upload.object_key)
        except ObjectMissingError:
            life = _clamp(expires_in or self.policy.url_life)
            asset = self.assets.renew_upload(owner, asset_id, self.clock.now() + life)
            return UploadTicket(asset=asset, signed=self._sign(asset, life))
        raise ConflictError(
            f"Asset {asset_id} has its upload already.", hint="Confirm it, or request a new upload.", asset_id=asset_id
        )

    def give_up(self, owner: Owner, asset_id: AssetId) -> None:
        """Give a pending upload up; its object, if any, goes with the tombstone.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            ConflictError: it is ready.
        """
        asset = self.assets.get(owner, asset_id)
        if asset.status is AssetStatus.READY:
            raise ConflictError(f"Asset {asset_id} is ready.", hint="Delete the asset instead.", asset_id=asset_id)
        self.assets.delete(owner, asset_id, now=self.clock.now())

    def confirm(self, owner: Owner, asset_id: AssetId) -> Asset:
        """Verify what arrived and publish it as version 1; idempotent; deletes nothing.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            AssetNotReadyError: it was deleted.
            UploadMissingError: nothing arrived yet; `facts["expired"]` after the URL's end.
            UploadMismatchError: size or sha256 differ from what was declared.
            ProcessingError: it is no audio, damaged, empty, or over a limit.
        """
        now = self.clock.now()
        token = new_token()
        asset = self.assets.claim_confirm(owner, asset_id, token=token, now=now, until=now + CLAIM_LIFE)
        if asset.status is AssetStatus.READY:
            return asset
        if asset.status is AssetStatus.DELETED:
            raise AssetNotReadyError(f"Asset {asset_id} was deleted.", asset_id=asset_id)
        return self._publish(asset, token)

    def put_file(
        self,
        owner: Owner,
        path: Path,
        *,
        name: str | None = None,
        then: Iterable[ThenRequest] = (),
        progress: Callable[[int], None] | None = None,
    ) -> Asset:
        """Upload a local file and confirm it: request, PUT and confirm in one call; `progress` is told the bytes sent.

        Raises:
            FileNotFoundError: no such file.
            PayloadTooLargeError: it is over the policy.
            ProcessingError: as `confirm`.
        """
        size = path.stat().st_size
        spec = UploadSpec(filename=path.name, size=size, name=name or path.name, then=tuple(then))
        self._check(spec, needs_size=False)
        asset, _ = self.assets.create(self._pending(owner, spec, self.policy.url_life))
        with _Counting(path.open("rb", buffering=0), progress) as source:
            self.storage.put(asset.upload.object_key, source, size=size, content_type=asset.upload.content_type)
        return self.confirm(owner, asset.asset_id)

    def sweep(self) -> int:
        """Confirm what arrived without a confirm, forget what never will; return how many were confirmed.

        What is wrong with one upload does not keep the others waiting.

        Raises:
            UnavailableError: a store is away.
        """
        confirmed = 0
        for asset in self.assets.uploads_to_look_at(self.clock.now(), limit=SWEEP_PAGE):
            try:
                confirmed += self._look_at(asset)
            except UnavailableError:
                raise
            except MusProjError as exc:
                facts = {"action": "sweep_failed", "assetId": asset.asset_id, "code": exc.code}
                log.warning("The upload %s cannot be swept: %s", asset.asset_id, exc, extra=facts)
        return confirmed

    # ── steps ──

    def _look_at(self, asset: Asset) -> bool:
        """Do what is due with a pending upload; tell whether it was confirmed."""
        try:
            self.storage.stat(asset.upload.object_key)
        except ObjectMissingError:
            if self.clock.now() > asset.upload.expires_at + URL_GRACE:
                self.assets.forget_upload(asset.asset_id)
            return False
        if asset.upload.error is not None:
            self._give_up_failed(asset)
            return False
        if not self.policy.auto_confirm:
            return False
        try:
            self.confirm(asset.owner, asset.asset_id)
        except (ConflictError, ProcessingError):
            # Recorded as the asset's upload error; whoever asks for the asset reads it.
            return False
        return True

    def _give_up_failed(self, asset: Asset) -> None:
        now = self.clock.now()
        if now > asset.created_at + FAILED_LIFE:
            self.assets.delete(asset.owner, asset.asset_id, now=now)

    def _publish(self, asset: Asset, token: str) -> Asset:
        try:
            stored = self.storage.stat(asset.upload.object_key)
        except ObjectMissingError:
            expired = self.clock.now() > asset.upload.expires_at
            raise UploadMissingError(
                f"Nothing has arrived for asset {asset.asset_id} yet.",
                hint="Its URL has expired: renew it." if expired else "PUT the file, then confirm again.",
                asset_id=asset.asset_id,
                expired=expired,
            ) from None
        known = asset.upload.error
        if known is not None and known.etag == stored.etag:
            raise _again(known)
        try:
            file = self.verifier.verify(asset.upload, stored)
        except (ProcessingError, UploadMismatchError) as exc:
            error = UploadError(exc.code, exc.message, stored.etag)
            self.assets.fail_confirm(asset.owner, asset.asset_id, token, error)
            raise
        version = Version(number=1, kind=SOURCE, files=(file,), created_at=self.clock.now())
        ready, _ = self.assets.confirm(asset.owner, asset.asset_id, version, self._then_jobs(asset, file))
        return ready

    def _then_jobs(self, asset: Asset, file: File) -> list[Job]:
        now = self.clock.now()
        return [
            Job(
                job_id=then.job_id,
                root_job_id=then.job_id,
                type=then.type,
                owner=asset.owner,
                inputs=(JobInput(port=SINGLE_PORT, asset_id=asset.asset_id, version=1),),
                params=then.params,
                needs=media.needs_of(file.content_type),
                processor_version=then.processor_version,
                created_at=now,
                updated_at=now,
                run_at=now,
                expires_at=now + self.job_lifetime,
                queue=self.queue_name,
                max_attempts=then.max_attempts,
            )
            for then in asset.upload.then
        ]

    def _pending(self, owner: Owner, spec: UploadSpec, life: timedelta) -> Asset:
        now = self.clock.now()
        asset_id = new_asset_id(now)
        # The seed's key where nothing is declared; the content type that is recorded comes from the bytes.
        container = media.container_of(spec.content_type, spec.filename) or "wav"
        declared = spec.content_type or (media.CONTENT_TYPES[container] if spec.filename else media.OCTET_STREAM)
        upload = Upload(
            object_key=file_key(asset_id, 1, SOURCE, container),
            content_type=declared,
            filename=spec.filename,
            size_bytes=spec.size,
            sha256=spec.sha256,
            expires_at=now + life,
            next_look=now + FIRST_LOOK,
            then=tuple(self._then(request, f"/then/{index}") for index, request in enumerate(spec.then)),
        )
        return Asset(asset_id=asset_id, owner=owner, created_at=now, upload=upload, name=spec.name)

    def _then(self, request: ThenRequest, place: str) -> ThenJob:
        try:
            processor = self.catalog.get(request.type).spec
            checked = params.canonical(params.parse(processor.params, request.params))
        except InvalidError as exc:
            raise _at(place, exc) from exc
        if [port.name for port in processor.inputs if port.required] != [SINGLE_PORT]:
            reason = f"{request.type} takes more than the one input of an upload"
            raise InvalidError(violations=(Violation(f"{place}/type", "invalid", reason),))
        return ThenJob(
            job_id=new_job_id(self.clock.now()),
            type=request.type,
            params=checked,
            processor_version=processor.version,
            max_attempts=processor.max_attempts,
        )

    def _check(self, spec: UploadSpec, *, needs_size: bool) -> None:
        if spec.size is None:
            if needs_size:
                raise InvalidError(violations=(Violation("/size", "required", "this store needs the exact size"),))
            return
        if spec.size <= 0:
            raise InvalidError(violations=(Violation("/size", "minimum", "an upload has at least 1 byte"),))
        if spec.size > self.policy.max_bytes:
            raise PayloadTooLargeError(
                f"The upload has {spec.size} bytes, at most {self.policy.max_bytes} are allowed.",
                limit="bytes",
                value=spec.size,
                max=self.policy.max_bytes,
            )

    def _sign(self, asset: Asset, life: timedelta) -> SignedRequest:
        upload = asset.upload
        return self._signer().sign_put(
            upload.object_key,
            content_type=upload.content_type,
            size=upload.size_bytes,
            sha256=upload.sha256,
            expires_in=life,
        )

    def _signer(self) -> SignedUrls:
        if self.signed_urls is None:
            raise ConfigurationError(
                "This storage cannot sign URLs.", hint="Use a file:, s3:// or r2:// storage, or `put_file`."
            )
        return self.signed_urls


class _Counting(io.BufferedReader):
    """A file that tells how many bytes of it were read."""

    def __init__(self, raw: io.RawIOBase, progress: Callable[[int], None] | None) -> None:
        super().__init__(raw)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        if self._progress is not None:
            self._progress(self.tell())
        return block


def _is_pending(asset: Asset) -> bool:
    return asset.status is AssetStatus.PENDING


def _clamp(life: timedelta) -> timedelta:
    return min(max(life, MIN_UPLOAD_LIFE), MAX_UPLOAD_LIFE)


def _at(place: str, error: InvalidError) -> InvalidError:
    """Return the error of a part of a request, told as one of the whole."""
    inner = error.violations or (Violation("/type", "unknown", error.message),)
    violations = tuple(Violation(place + found.pointer, found.code, found.detail) for found in inner)
    return type(error)(error.message, violations=violations, hint=error.hint, **error.facts)


def _again(error: UploadError) -> MusProjError:
    """Return the error of an earlier confirm of the same bytes."""
    kinds: list[type[MusProjError]] = [UploadMismatchError, *ProcessingError.__subclasses__()]
    kind = next((kind for kind in kinds if kind.code == error.code), ProcessingError)
    return kind(error.detail)
