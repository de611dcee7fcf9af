"""Show, list, name, promote, delete and download assets."""

import re
from collections.abc import Sequence
from datetime import timedelta

import attrs

from musproj.domain.asset import Asset
from musproj.domain.ids import AssetId, Owner
from musproj.domain.keys import parse_file_key
from musproj.domain.version import Attachment, File, Version
from musproj.errors import AssetNotReadyError, ConfigurationError, FileNotFoundInVersionError, VersionNotFoundError
from musproj.ports.assets import AssetFilter, AssetStore, Page
from musproj.ports.clock import Clock
from musproj.ports.storage import SignedRequest, SignedUrls, Storage

NEWEST_VERSIONS = 20
"""How many versions an asset is shown with."""
DEFAULT_DOWNLOAD_LIFE = timedelta(hours=6)
MAX_DOWNLOAD_LIFE = timedelta(hours=24)


@attrs.frozen(kw_only=True)
class AssetView:
    """An asset with its newest versions, without provenance."""

    asset: Asset
    versions: Sequence[Version]


@attrs.frozen(kw_only=True)
class Download:
    """A file of a version, and the request that fetches it."""

    asset_id: AssetId
    version: int
    file: File
    filename: str
    """What a browser or the CLI saves it as."""
    signed: SignedRequest


@attrs.frozen(kw_only=True)
class Assets:
    """What a client can do with assets; every id of another owner is an unknown id."""

    assets: AssetStore
    storage: Storage
    signed_urls: SignedUrls | None
    clock: Clock
    download_life: timedelta = DEFAULT_DOWNLOAD_LIFE

    def get(self, owner: Owner, asset_id: AssetId) -> AssetView:
        """Return an asset with its newest 20 versions.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
        """
        asset = self.assets.get(owner, asset_id)
        if not asset.version_count:
            return AssetView(asset=asset, versions=())
        return AssetView(asset=asset, versions=self.assets.versions(owner, asset_id, limit=NEWEST_VERSIONS).items)

    def list(
        self, owner: Owner, filters: AssetFilter | None = None, *, limit: int = 20, cursor: str | None = None
    ) -> Page[Asset]:
        """Return a page of assets, newest first.

        Raises:
            InvalidCursorError: the cursor is malformed.
        """
        return self.assets.list(owner, filters or AssetFilter(), limit=limit, cursor=cursor)

    def versions(
        self,
        owner: Owner,
        asset_id: AssetId,
        *,
        limit: int = 20,
        cursor: str | None = None,
        oldest_first: bool = False,
    ) -> Page[Version]:
        """Return a page of versions by number, without provenance.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            InvalidCursorError: the cursor is malformed.
        """
        return self.assets.versions(owner, asset_id, limit=limit, cursor=cursor, oldest_first=oldest_first)

    def version(self, owner: Owner, asset_id: AssetId, number: int | str | None = None) -> Version:
        """Return a version with its provenance: a number, `latest`, or `head` (the default).

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            VersionNotFoundError: no such version.
        """
        return self.assets.version(owner, asset_id, self._number(owner, asset_id, number))

    def attachments(self, owner: Owner, asset_id: AssetId, number: int | str | None = None) -> Sequence[Attachment]:
        """Return the attachments of a version, the latest of each name.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            VersionNotFoundError: no such version.
        """
        return self.assets.attachments(owner, asset_id, self._number(owner, asset_id, number))

    def download(
        self,
        owner: Owner,
        asset_id: AssetId,
        version: int | str | None = None,
        *,
        file: str | None = None,
        expires_in: timedelta | None = None,
        inline: bool = False,
    ) -> Download:
        """Sign a download of a version's file (default: the primary one) or attachment.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            AssetNotReadyError: it is pending or deleted.
            VersionNotFoundError: no such version.
            FileNotFoundInVersionError: no file or attachment of that name.
            ConfigurationError: the storage cannot sign URLs.
        """
        if self.signed_urls is None:
            raise ConfigurationError(
                "This storage cannot sign URLs.", hint="Use a file:, s3:// or r2:// storage, or read the file directly."
            )
        asset = self.assets.get(owner, asset_id).require_ready()
        number, found = self._file(owner, asset, version, file)
        life = min(max(expires_in or self.download_life, timedelta(seconds=1)), MAX_DOWNLOAD_LIFE)
        filename = download_name(asset, number, found)
        signed = self.signed_urls.sign_get(
            found.object_key, filename=filename, content_type=found.content_type, expires_in=life, inline=inline
        )
        return Download(asset_id=asset_id, version=number, file=found, filename=filename, signed=signed)

    def find_file(
        self, owner: Owner, asset_id: AssetId, version: int | str | None = None, *, file: str | None = None
    ) -> tuple[int, File, str]:
        """Return version number, file, and the name to save it as; the bytes are read with `storage.read`.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            AssetNotReadyError: it is pending or deleted.
            VersionNotFoundError: no such version.
            FileNotFoundInVersionError: no file or attachment of that name.
        """
        asset = self.assets.get(owner, asset_id).require_ready()
        number, found = self._file(owner, asset, version, file)
        return number, found, download_name(asset, number, found)

    def rename(self, owner: Owner, asset_id: AssetId, name: str | None, *, revision: int | None = None) -> AssetView:
        """Give an asset another name.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            AssetNotReadyError: it is deleted.
            PreconditionFailedError: it changed since `revision`.
        """
        self.assets.rename(owner, asset_id, name, revision=revision)
        return self.get(owner, asset_id)

    def promote(self, owner: Owner, asset_id: AssetId, number: int | None, *, revision: int | None = None) -> AssetView:
        """Pin the head at a version; None lets it move by itself again.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            AssetNotReadyError: it is pending or deleted.
            VersionNotFoundError: no such version.
            PreconditionFailedError: it changed since `revision`.
        """
        self.assets.set_head(owner, asset_id, number, revision=revision)
        return self.get(owner, asset_id)

    def delete(self, owner: Owner, asset_id: AssetId, *, revision: int | None = None) -> Asset:
        """Delete an asset: it leaves the lists now, its objects go after `purge_at`; repeatable.

        Raises:
            AssetNotFoundError: unknown, or another owner's.
            PreconditionFailedError: it changed since `revision`.
        """
        return self.assets.delete(owner, asset_id, now=self.clock.now(), revision=revision)

    def undelete(self, owner: Owner, asset_id: AssetId) -> AssetView:
        """Take a deletion back, until it is purged.

        Raises:
            AssetNotFoundError: unknown, another owner's, or purged.
            IllegalTransitionError: it is not deleted, or it never was ready.
        """
        self.assets.undelete(owner, asset_id)
        return self.get(owner, asset_id)

    def _number(self, owner: Owner, asset_id: AssetId, wanted: int | str | None) -> int:
        if isinstance(wanted, int):
            return wanted
        return _resolve(self.assets.get(owner, asset_id), wanted)

    def _file(self, owner: Owner, asset: Asset, version: int | str | None, name: str | None) -> tuple[int, File]:
        number = version if isinstance(version, int) else _resolve(asset, version)
        found = self.assets.version(owner, asset.asset_id, number)
        try:
            return number, found.file(name)
        except FileNotFoundInVersionError:
            for attachment in self.assets.attachments(owner, asset.asset_id, number):
                if attachment.file.name == name:
                    return number, attachment.file
            raise


def download_name(asset: Asset, number: int, file: File) -> str:
    """Return a file name that says what the file is: `<name>-v<N>-<file>.<ext>`."""
    stem = asset.name or asset.upload.filename or asset.asset_id
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", stem.replace("\\", "/").rsplit("/", 1)[-1]) or asset.asset_id
    parts = parse_file_key(file.object_key)
    extension = f".{parts.extension}" if parts else ""
    return f"{stem}-v{number}-{file.name}{extension}" if number > 1 or file.name != "source" else f"{stem}{extension}"


def _resolve(asset: Asset, wanted: str | None) -> int:
    number = asset.latest_version if wanted == "latest" else asset.head
    if wanted not in (None, "latest", "head"):
        raise VersionNotFoundError(f"A version is a number, 'latest' or 'head', not {wanted!r}.", version=wanted)
    if number is None:
        raise AssetNotReadyError(f"Asset {asset.asset_id} has no version yet.", asset_id=asset.asset_id)
    return number
