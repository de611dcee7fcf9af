"""An asset: one recording with all its versions."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

import attrs

from musproj.domain.ids import AssetId, JobId, Owner
from musproj.domain.keys import ObjectKey
from musproj.domain.multipart import MultipartPlan
from musproj.domain.times import aware
from musproj.errors import AssetNotReadyError, IllegalTransitionError

TOMBSTONE = timedelta(days=7)
"""A live upload URL can create a deleted key again, so the record outlives every URL."""
URL_GRACE = timedelta(hours=24)
"""How long a pending asset's metadata outlives its upload URL."""
GC_GRACE = timedelta(days=1)
"""How long gc waits with a prefix that a job left behind: a worker that lost it may still be writing there."""
FIRST_LOOK = timedelta(minutes=2)
"""When the sweep first looks for an upload that nobody confirmed; then at doubling distances."""


class AssetStatus(StrEnum):
    """Where an asset stands; it only moves forward, but for an undelete."""

    PENDING = "pending"
    READY = "ready"
    DELETED = "deleted"


@attrs.frozen
class UploadError:
    """Why a confirm failed; kept until a new upload replaces the asset."""

    code: str
    detail: str
    etag: str
    """Of the object that was looked at: the same object need not be read again."""


@attrs.frozen(kw_only=True)
class ThenJob:
    """A job that the confirm submits, all of it fixed at the request.

    So a repeat makes no second one, and a confirm does not need the processor, which may be gone by then.
    """

    job_id: JobId
    type: str
    params: dict[str, object]
    needs: tuple[str, ...] = ()
    """What a worker must have for these parameters, beside what the upload will turn out to need."""
    processor_version: str = ""
    max_attempts: int = 5


@attrs.frozen(kw_only=True)
class Upload:
    """What was declared about the source file, and how far its arrival is."""

    object_key: ObjectKey
    content_type: str
    filename: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    """Lower-case hex."""
    expires_at: datetime = attrs.field(validator=aware)
    """Of the last upload URL."""
    next_look: datetime | None = attrs.field(default=None, validator=aware)
    """When the sweep looks next; None once the asset is not pending."""
    confirm_token: str | None = None
    confirm_until: datetime | None = attrs.field(default=None, validator=aware)
    error: UploadError | None = None
    then: tuple[ThenJob, ...] = ()
    multipart: MultipartPlan | None = None
    """How it may come in parts; None where it comes whole."""


@attrs.frozen(kw_only=True)
class Asset:
    """One recording of one owner. Version 1 is its source."""

    asset_id: AssetId
    owner: Owner
    created_at: datetime = attrs.field(validator=aware)
    upload: Upload
    status: AssetStatus = attrs.field(default=AssetStatus.PENDING, converter=AssetStatus)
    name: str | None = None
    latest_version: int | None = None
    """The highest published number; never falls."""
    head: int | None = None
    """What a plain download and a plain job take."""
    head_pinned: bool = False
    """Promoted by hand: processors no longer move the head."""
    sequence: int = 1
    """The highest number ever reserved; a number is never given back."""
    version_count: int = 0
    revision: int = 0
    """Grows with each change of the record; the entity tag is made from it."""
    deleted_at: datetime | None = attrs.field(default=None, validator=aware)
    purge_at: datetime | None = attrs.field(default=None, validator=aware)

    def require_ready(self) -> Self:
        """Return itself.

        Raises:
            AssetNotReadyError: it is pending or deleted.
        """
        if self.status is not AssetStatus.READY:
            hint = "Confirm the upload first." if self.status is AssetStatus.PENDING else None
            raise AssetNotReadyError(f"Asset {self.asset_id} is {self.status}.", hint=hint, asset_id=self.asset_id)
        return self

    def confirm(self) -> Self:
        """Return the ready asset whose only version is 1.

        Raises:
            IllegalTransitionError: it is not pending.
        """
        self._require(AssetStatus.PENDING)
        done: dict[str, Any] = dict.fromkeys(("next_look", "confirm_token", "confirm_until", "error", "multipart"))
        upload = attrs.evolve(self.upload, **done, then=())
        return self._change(status=AssetStatus.READY, latest_version=1, head=1, version_count=1, upload=upload)

    def reserve(self, above: int = 0) -> tuple[Self, int]:
        """Return the asset and a number that nobody had before and that is higher than `above`."""
        number = max(self.sequence, above) + 1
        return attrs.evolve(self, sequence=number), number

    def publish(self, number: int, *, moves_head: bool) -> Self:
        """Return the asset with version `number` published."""
        head = self.head
        if moves_head and not self.head_pinned and number > (head or 0):
            head = number
        return self._change(
            latest_version=max(self.latest_version or 0, number), head=head, version_count=self.version_count + 1
        )

    def promote(self, number: int) -> Self:
        """Return the asset with its head pinned at `number`."""
        self.require_ready()
        return self._change(head=number, head_pinned=True)

    def unpin(self, head: int) -> Self:
        """Return the asset whose head moves by itself again, from `head` on."""
        self.require_ready()
        return self._change(head=head, head_pinned=False)

    def rename(self, name: str | None) -> Self:
        """Return the asset with another name."""
        if self.status is AssetStatus.DELETED:
            raise AssetNotReadyError(f"Asset {self.asset_id} is deleted.", asset_id=self.asset_id)
        return self._change(name=name)

    def delete(self, now: datetime) -> Self:
        """Return the tombstone; deleting again changes nothing."""
        if self.status is AssetStatus.DELETED:
            return self
        purge_at = max(now + TOMBSTONE, self.upload.expires_at + URL_GRACE)
        upload = attrs.evolve(self.upload, next_look=None)
        return self._change(status=AssetStatus.DELETED, deleted_at=now, purge_at=purge_at, upload=upload)

    def undelete(self) -> Self:
        """Return the asset as it was before its deletion.

        Raises:
            IllegalTransitionError: it is not deleted, or it never was ready.
        """
        self._require(AssetStatus.DELETED)
        if self.latest_version is None:
            raise IllegalTransitionError(f"Asset {self.asset_id} was never ready.", asset_id=self.asset_id)
        return self._change(status=AssetStatus.READY, deleted_at=None, purge_at=None)

    def renew_upload(self, expires_at: datetime, upload_id: str | None = None) -> Self:
        """Return the asset whose upload URLs live until `expires_at`, if not longer already.

        `upload_id` is where its parts go; the first one that is given stays.

        Raises:
            IllegalTransitionError: it is not pending.
        """
        self._require(AssetStatus.PENDING)
        plan = self.upload.multipart
        if plan is not None and upload_id is not None:
            plan = plan.with_id(upload_id)
        return self.with_upload(expires_at=max(expires_at, self.upload.expires_at), multipart=plan)

    def with_upload(self, **changes: Any) -> Self:
        """Return the asset with a changed upload."""
        return self._change(upload=attrs.evolve(self.upload, **changes))

    def _change(self, **changes: Any) -> Self:
        return attrs.evolve(self, revision=self.revision + 1, **changes)

    def _require(self, status: AssetStatus) -> None:
        if self.status is not status:
            raise IllegalTransitionError(
                f"Asset {self.asset_id} is {self.status}, not {status}.", asset_id=self.asset_id
            )
