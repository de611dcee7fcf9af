"""Where the records of assets, versions and attachments are."""

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

import attrs

from musproj.domain.asset import Asset, AssetStatus, UploadError
from musproj.domain.ids import AssetId, Owner
from musproj.domain.job import Job
from musproj.domain.version import Attachment, Version

T = TypeVar("T")


@attrs.frozen
class Page(Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]
    next_cursor: str | None = None
    """Where the next page begins; None on the last one."""


IDEMPOTENCY_LIFE = timedelta(days=7)
"""How long a store knows an idempotency key, from its first use on."""


@attrs.frozen(kw_only=True)
class Idempotency:
    """A client's Idempotency-Key and the hash of the request it was sent with.

    Known for `IDEMPOTENCY_LIFE`, 7 days; the same key makes something new after that.
    """

    key: str
    body_hash: str


@attrs.frozen(kw_only=True)
class AssetFilter:
    """Which assets a list shows; deleted ones only where `status` asks for them."""

    status: AssetStatus | None = None
    created_after: datetime | None = None
    """Inclusive."""
    created_before: datetime | None = None
    """Exclusive."""


@attrs.frozen(kw_only=True)
class GcEntry:
    """A prefix whose objects gc shall compare with the records."""

    asset_id: AssetId
    version: int
    due_at: datetime


class AssetStore(Protocol):
    """Assets and their versions; every method is atomic, durable on return, and usable from several threads.

    A client's methods take the owner: an id of another owner is an unknown id. Every method raises
    `BackendUnavailableError` when the store cannot be reached.
    """

    __slots__ = ()

    @abstractmethod
    def create(self, asset: Asset, idempotency: Idempotency | None = None) -> tuple[Asset, bool]:
        """Store a pending asset; return it and True, or the one that this idempotency key made before and False.

        Raises:
            IdempotencyMismatchError: the key was used with another body.
            ConflictError: the id is taken.
        """

    @abstractmethod
    def get(self, owner: Owner, asset_id: AssetId) -> Asset:
        """Return the record, tombstones included.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
        """

    @abstractmethod
    def find(self, asset_id: AssetId) -> Asset | None:
        """Return any owner's record, tombstones included, or None; for gc."""

    @abstractmethod
    def list(self, owner: Owner, filters: AssetFilter, *, limit: int, cursor: str | None = None) -> Page[Asset]:
        """Return a page, newest first; what is created or deleted meanwhile neither shifts nor repeats rows.

        Raises:
            InvalidCursorError: the cursor is malformed.
        """

    @abstractmethod
    def versions(
        self, owner: Owner, asset_id: AssetId, *, limit: int, cursor: str | None = None, oldest_first: bool = False
    ) -> Page[Version]:
        """Return a page of published versions by number, without provenance.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            InvalidCursorError: the cursor is malformed.
        """

    @abstractmethod
    def version(self, owner: Owner, asset_id: AssetId, number: int) -> Version:
        """Return one version with its provenance.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            VersionNotFoundError: no such number was published.
        """

    @abstractmethod
    def attachments(self, owner: Owner, asset_id: AssetId, version: int) -> Sequence[Attachment]:
        """Return the latest of each name, by name.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            VersionNotFoundError: no such number was published.
        """

    @abstractmethod
    def find_reuse(self, owner: Owner, reuse_key: str) -> tuple[AssetId, int] | None:
        """Return where a version with this reuse key is (see `Provenance.reuse_key`), the last published of several.

        Only ready assets count: what was deleted is not offered.
        """

    @abstractmethod
    def rename(self, owner: Owner, asset_id: AssetId, name: str | None, *, revision: int | None = None) -> Asset:
        """Give the asset another name.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            AssetNotReadyError: it is deleted.
            PreconditionFailedError: `revision` is given and not the present one.
        """

    @abstractmethod
    def set_head(self, owner: Owner, asset_id: AssetId, number: int | None, *, revision: int | None = None) -> Asset:
        """Pin the head at `number`; None unpins it: head is the newest version again whose publication moves heads.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            AssetNotReadyError: it is pending or deleted.
            VersionNotFoundError: no such number was published.
            PreconditionFailedError: `revision` is given and not the present one.
        """

    @abstractmethod
    def delete(self, owner: Owner, asset_id: AssetId, *, now: datetime, revision: int | None = None) -> Asset:
        """Make the asset a tombstone; its waiting jobs are cancelled, its running ones told to stop. Repeatable.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            PreconditionFailedError: `revision` is given and not the present one.
        """

    @abstractmethod
    def undelete(self, owner: Owner, asset_id: AssetId) -> Asset:
        """Take a deletion back.

        Raises:
            AssetNotFoundError: unknown, another owner's, or purged already.
            IllegalTransitionError: it is not deleted or never was ready.
        """

    # ── confirming an upload ──

    @abstractmethod
    def renew_upload(
        self, owner: Owner, asset_id: AssetId, expires_at: datetime, *, upload_id: str | None = None
    ) -> Asset:
        """Note that an upload URL lives until `expires_at` (never earlier than before).

        `upload_id` names the multipart upload that its parts go to: the first one noted stays (compare it).

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            IllegalTransitionError: it is not pending.
        """

    @abstractmethod
    def claim_confirm(self, owner: Owner, asset_id: AssetId, *, token: str, now: datetime, until: datetime) -> Asset:
        """Take the right to record a failed confirm; a live claim of another token stays (compare the token).

        A ready or deleted asset comes back unchanged.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
        """

    @abstractmethod
    def confirm(self, owner: Owner, asset_id: AssetId, version: Version, jobs: Sequence[Job]) -> tuple[Asset, bool]:
        """Publish version 1 and submit `jobs`, guarded on pending alone.

        Returns the asset and whether this call was the one; a ready asset comes back unchanged.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            AssetNotReadyError: it was deleted.
        """

    @abstractmethod
    def fail_confirm(self, owner: Owner, asset_id: AssetId, token: str, error: UploadError) -> Asset:
        """Record why a confirm failed, guarded on pending and on the own claim; else nothing changes.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
        """

    @abstractmethod
    def uploads_to_look_at(self, now: datetime, *, limit: int) -> Sequence[Asset]:
        """Return pending assets whose next look is due and push that look away by its distance, doubled.

        Two sweeps never get the same asset. The distance of a look is its time since the asset was created.
        """

    @abstractmethod
    def forget_upload(self, asset_id: AssetId) -> None:
        """Drop a pending asset's record for good; one that is not pending stays."""

    # ── garbage ──

    @abstractmethod
    def gc_due(self, now: datetime, *, limit: int, after: GcEntry | None = None) -> Sequence[GcEntry]:
        """Return prefixes that are due, by time, asset and version, those behind `after`; they stay until `gc_done`.

        `after` need not be on the list any more.
        """

    @abstractmethod
    def gc_done(self, entry: GcEntry) -> None:
        """Drop an entry that was worked off; one whose prefix was put on the list anew meanwhile stays."""

    @abstractmethod
    def tombstones(self, now: datetime, *, limit: int, after: Asset | None = None) -> Sequence[Asset]:
        """Return deleted assets whose purge is due, by that time and id, those behind `after`.

        `after` is a tombstone that this method returned; it may have been purged since.
        """

    @abstractmethod
    def purge(self, asset_id: AssetId) -> None:
        """Drop a deleted asset's records for good; jobs stay, their asset is gone."""

    @abstractmethod
    def listed_keys(self, asset_id: AssetId, version: int) -> frozenset[str]:
        """Return the object keys that version and attachment records of this number name, whoever owns them."""
