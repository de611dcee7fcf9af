"""Uploads: request a signed URL, confirm what arrived, and look after what nobody confirmed."""

import io
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import attrs

from musproj.application import uploads_then
from musproj.application.catalog import Catalog
from musproj.application.turns import Turns
from musproj.application.uploads_multipart import ReceivedParts, SignedParts, UploadParts
from musproj.application.uploads_then import ThenRequest
from musproj.application.verify import Verifier
from musproj.domain import media
from musproj.domain.asset import FIRST_LOOK, URL_GRACE, Asset, AssetStatus, Upload, UploadError
from musproj.domain.ids import AssetId, Owner, new_asset_id, new_token
from musproj.domain.job import DEFAULT_LIFETIME
from musproj.domain.keys import file_key
from musproj.domain.multipart import MIB, MultipartPlan
from musproj.domain.version import Version
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
from musproj.ports.storage import MultipartUploads, SignedRequest, SignedUrls, Storage, StoredObject

log = logging.getLogger(__name__)

SOURCE = "source"
CLAIM_LIFE = timedelta(seconds=60)
TURN_SECONDS = 10.0
"""How long a confirm waits for another of the same upload; the API has answered by then."""
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
    multipart_bytes: int = 64 * MIB
    """What is larger may come in parts."""


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
    max_put_bytes: int | None = None
    """The largest body that `signed` carries, where there is such a limit."""

    @property
    def needs_parts(self) -> bool:
        """Whether the upload is too large for `signed`."""
        size = self.asset.upload.size_bytes
        return size is not None and self.max_put_bytes is not None and size > self.max_put_bytes


def _parts_of(uploads: "Uploads") -> UploadParts:
    return UploadParts(assets=uploads.assets, storage=uploads.storage, multipart=uploads.multipart, clock=uploads.clock)


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
    multipart: MultipartUploads | None = None
    _turns: Turns = attrs.field(init=False, repr=False, eq=False, factory=Turns)
    _parts: UploadParts = attrs.field(init=False, repr=False, default=attrs.Factory(_parts_of, takes_self=True))

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
        self._check_put(spec, signer)
        now = self.clock.now()
        life = _clamp(spec.expires_in or self.policy.url_life)
        asset, is_new = self.assets.create(self._pending(owner, spec, life), idempotency)
        if not is_new:
            asset = self.assets.renew_upload(owner, asset.asset_id, now + life) if _is_pending(asset) else asset
        return self._ticket(asset, life, replayed=not is_new)

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
            return self._ticket(asset, life)
        raise ConflictError(
            f"Asset {asset_id} has its upload already.", hint="Confirm it, or request a new upload.", asset_id=asset_id
        )

    def sign_parts(
        self, owner: Owner, asset_id: AssetId, numbers: Sequence[int], *, expires_in: timedelta | None = None
    ) -> SignedParts:
        """Sign the PUT of each part named, of a pending upload that is planned in parts; repeatable.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            ConflictError: it is ready or deleted, is to come whole, or something lies under its key already.
            InvalidError: a number is out of range or named twice.
        """
        return self._parts.sign(owner, asset_id, numbers, _clamp(expires_in or self.policy.url_life))

    def received_parts(self, owner: Owner, asset_id: AssetId) -> ReceivedParts:
        """Return the parts of a pending upload that have arrived, so that a client sends the others.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            ConflictError: it is ready or deleted, is to come whole, or something lies under its key already.
            UploadMissingError: the store has dropped the parts.
        """
        return self._parts.received(owner, asset_id)

    def give_up(self, owner: Owner, asset_id: AssetId) -> None:
        """Give a pending upload up, with the parts of it; its object, if any, goes with the tombstone. Repeatable.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            ConflictError: it is ready.
        """
        asset = self.assets.get(owner, asset_id)
        if asset.status is AssetStatus.READY:
            raise ConflictError(f"Asset {asset_id} is ready.", hint="Delete the asset instead.", asset_id=asset_id)
        self._parts.close(self.assets.delete(owner, asset_id, now=self.clock.now()))

    def confirm(self, owner: Owner, asset_id: AssetId) -> Asset:
        """Verify what arrived and publish it as version 1; idempotent; deletes nothing.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            AssetNotReadyError: it was deleted, or another confirm takes long to check it.
            UploadMissingError: nothing, or not every part, arrived yet; `facts["expired"]` after the URL's end.
            UploadMismatchError: size or sha256 differ from what was declared, or parts from what was planned.
            ProcessingError: it is no audio, damaged, empty, or over a limit.
        """
        asset = self.assets.get(owner, asset_id)
        if asset.status is AssetStatus.READY:
            return asset
        # A check may have to read gigabytes: who repeats the confirm meanwhile must not have them read again.
        with self._turns.take((owner, asset_id), patience_s=TURN_SECONDS) as is_my_turn:
            if not is_my_turn:
                raise AssetNotReadyError(f"The upload of asset {asset_id} is being checked.", asset_id=asset_id)
            return self._confirm(owner, asset_id)

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
        return self.look_after(self.take_due())

    def take_due(self) -> Sequence[Asset]:
        """Return the uploads that are to be looked after now; nobody else gets them until their next look.

        Raises:
            UnavailableError: a store is away.
        """
        return self.assets.uploads_to_look_at(self.clock.now(), limit=SWEEP_PAGE)

    def look_after(self, pending: Sequence[Asset]) -> int:
        """Do with each of these what `sweep` does, and return how many were confirmed.

        Raises:
            UnavailableError: a store is away.
        """
        confirmed = 0
        for asset in pending:
            try:
                confirmed += self._look_at(asset)
            except UnavailableError:
                raise
            except MusProjError as exc:
                facts = {"action": "sweep_failed", "assetId": asset.asset_id, "code": exc.code}
                log.warning("The upload %s cannot be swept: %s", asset.asset_id, exc, extra=facts)
        return confirmed

    # ── steps ──

    def _confirm(self, owner: Owner, asset_id: AssetId) -> Asset:
        now = self.clock.now()
        token = new_token()
        asset = self.assets.claim_confirm(owner, asset_id, token=token, now=now, until=now + CLAIM_LIFE)
        if asset.status is AssetStatus.READY:
            return asset
        if asset.status is AssetStatus.DELETED:
            raise AssetNotReadyError(f"Asset {asset_id} was deleted.", asset_id=asset_id)
        return self._publish(asset, token)

    def _look_at(self, asset: Asset) -> bool:
        """Do what is due with a pending upload; tell whether it was confirmed."""
        if not self._has_arrived(asset):
            if self.clock.now() > asset.upload.expires_at + URL_GRACE:
                self._parts.close(asset)
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

    def _has_arrived(self, asset: Asset) -> bool:
        try:
            self.storage.stat(asset.upload.object_key)
        except ObjectMissingError:
            return self._parts.is_whole(asset)
        return True

    def _give_up_failed(self, asset: Asset) -> None:
        now = self.clock.now()
        if now > asset.created_at + FAILED_LIFE:
            self.assets.delete(asset.owner, asset.asset_id, now=now)

    def _publish(self, asset: Asset, token: str) -> Asset:
        try:
            stored = self._arrived(asset)
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
        now = self.clock.now()
        version = Version(number=1, kind=SOURCE, files=(file,), created_at=now)
        jobs = uploads_then.jobs_of(asset, file, now=now, lifetime=self.job_lifetime, queue=self.queue_name)
        ready, _ = self.assets.confirm(asset.owner, asset.asset_id, version, jobs)
        return ready

    def _arrived(self, asset: Asset) -> StoredObject:
        """Return the object, which may have to be made of its parts."""
        key = asset.upload.object_key
        try:
            stored = self.storage.stat(key)
        except ObjectMissingError:
            return self._parts.assemble(asset)
        if asset.upload.multipart is None:
            return stored
        # It may have come whole while another confirm is about to make one of the parts. Only the record as it is
        # now, with the object there, names every upload in parts that could still be completed.
        has_closed = self._parts.close(self.assets.get(asset.owner, asset.asset_id))
        return self.storage.stat(key) if has_closed else stored

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
            then=tuple(
                uploads_then.fixed(request, f"/then/{index}", self.catalog, now)
                for index, request in enumerate(spec.then)
            ),
            multipart=self._plan(spec.size),
        )
        return Asset(asset_id=asset_id, owner=owner, created_at=now, upload=upload, name=spec.name)

    def _check(self, spec: UploadSpec, *, needs_size: bool) -> None:
        if spec.size is None:
            if needs_size:
                raise InvalidError(violations=(Violation("/size", "required", "this store needs the exact size"),))
            return
        if spec.size <= 0:
            raise InvalidError(violations=(Violation("/size", "minimum", "an upload has at least 1 byte"),))
        if spec.size > self.policy.max_bytes:
            raise _too_large(spec.size, self.policy.max_bytes)

    def _check_put(self, spec: UploadSpec, signer: SignedUrls) -> None:
        limit = signer.max_put_bytes
        if spec.size is not None and limit is not None and spec.size > limit and self._plan(spec.size) is None:
            raise _too_large(spec.size, limit)

    def _plan(self, size: int | None) -> MultipartPlan | None:
        over = self.policy.multipart_bytes
        limit = self.signed_urls.max_put_bytes if self.signed_urls else None
        return self._parts.plan(size, over=over if limit is None else min(over, limit))

    def _ticket(self, asset: Asset, life: timedelta, *, replayed: bool = False) -> UploadTicket:
        upload, signer = asset.upload, self._signer()
        signed = signer.sign_put(
            upload.object_key,
            content_type=upload.content_type,
            size=upload.size_bytes,
            sha256=upload.sha256,
            expires_in=life,
        )
        return UploadTicket(asset=asset, signed=signed, replayed=replayed, max_put_bytes=signer.max_put_bytes)

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


def _too_large(size: int, limit: int) -> PayloadTooLargeError:
    text = f"The upload has {size} bytes, at most {limit} are allowed."
    return PayloadTooLargeError(text, limit="bytes", value=size, max=limit)


def _again(error: UploadError) -> MusProjError:
    """Return the error of an earlier confirm of the same bytes."""
    kinds: list[type[MusProjError]] = [UploadMismatchError, *ProcessingError.__subclasses__()]
    kind = next((kind for kind in kinds if kind.code == error.code), ProcessingError)
    return kind(error.detail)
