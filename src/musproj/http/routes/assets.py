"""Assets: list, show, name, promote, delete, download."""

from typing import Any

from musproj.errors import (
    AssetNotFoundError,
    AssetNotReadyError,
    FileNotFoundInVersionError,
    IllegalTransitionError,
    InvalidCursorError,
    PreconditionFailedError,
    VersionNotFoundError,
)
from musproj.http import queries, schemas, specs
from musproj.http.headers import asset_etag
from musproj.http.operations import Api, Call, Reply
from musproj.ports.assets import AssetFilter

api = Api()


@api.op("GET", "/assets/{assetId}", id="getAsset", tag="assets", is_conditional=True, errors=(AssetNotFoundError,))
def get_asset(call: Call[None, None]) -> Reply[schemas.Asset]:
    """Show an asset with its newest 20 versions."""
    return _shown(call)


@api.op(
    "PATCH",
    "/assets/{assetId}",
    id="changeAsset",
    tag="assets",
    is_guarded=True,
    errors=(AssetNotFoundError, AssetNotReadyError, PreconditionFailedError),
)
def change_asset(call: Call[schemas.AssetPatch, None]) -> Reply[schemas.Asset]:
    """Give an asset another name."""
    revision = call.expected_revision()
    name = call.body.name
    if isinstance(name, str):
        call.mp.assets.rename(call.owner, call.asset_id, name or None, revision=revision)
    return _shown(call)


@api.op(
    "DELETE",
    "/assets/{assetId}",
    id="deleteAsset",
    tag="assets",
    status=202,
    is_guarded=True,
    errors=(AssetNotFoundError, PreconditionFailedError),
)
def delete_asset(call: Call[None, None]) -> Reply[schemas.Asset]:
    """Delete an asset; until `purgeAt` that can be taken back."""
    call.mp.assets.delete(call.owner, call.asset_id, revision=call.expected_revision())
    return _shown(call)


@api.op(
    "POST",
    "/assets/{assetId}/undelete",
    id="undeleteAsset",
    tag="assets",
    is_body_optional=True,
    errors=(AssetNotFoundError, IllegalTransitionError),
)
def undelete_asset(call: Call[schemas.Nothing, None]) -> Reply[schemas.Asset]:
    """Take a deletion back."""
    call.mp.assets.undelete(call.owner, call.asset_id)
    return _shown(call)


@api.op(
    "POST",
    "/assets/{assetId}/head",
    id="promoteVersion",
    tag="assets",
    is_guarded=True,
    errors=(AssetNotFoundError, AssetNotReadyError, VersionNotFoundError, PreconditionFailedError),
)
def promote_version(call: Call[schemas.HeadRequest, None]) -> Reply[schemas.Asset]:
    """Pin the head at a version."""
    call.mp.assets.promote(call.owner, call.asset_id, call.body.version, revision=call.expected_revision())
    return _shown(call)


@api.op(
    "DELETE",
    "/assets/{assetId}/head",
    id="unpinHead",
    tag="assets",
    is_guarded=True,
    errors=(AssetNotFoundError, AssetNotReadyError, PreconditionFailedError),
)
def unpin_head(call: Call[None, None]) -> Reply[schemas.Asset]:
    """Let the head move by itself again."""
    call.mp.assets.promote(call.owner, call.asset_id, None, revision=call.expected_revision())
    return _shown(call)


@api.op(
    "GET",
    "/assets/{assetId}/download",
    id="downloadFile",
    tag="assets",
    also={302: "The signed URL is in `Location`, where `redirect` asks for it."},
    errors=(AssetNotFoundError, AssetNotReadyError, VersionNotFoundError, FileNotFoundInVersionError),
)
def download_file(call: Call[None, queries.DownloadQuery]) -> Reply[schemas.Download]:
    """Sign a download of a version's file or attachment."""
    query = call.query
    download = call.mp.assets.download(
        call.owner,
        call.asset_id,
        specs.version_ref(query.version),
        file=query.file if isinstance(query.file, str) else None,
        expires_in=specs.seconds(query.expires_in),
        inline=query.disposition == "inline",
    )
    if query.redirect:
        return Reply(status=302, location=download.signed.url, cache_control="no-store")
    return Reply(content=schemas.to_download(download, call.mp.clock.now()), cache_control="no-store")


@api.op("GET", "/assets", id="listAssets", tag="assets", errors=(InvalidCursorError,))
def list_assets(call: Call[None, queries.AssetsQuery]) -> Reply[schemas.AssetPage]:
    """List assets, newest first."""
    query = call.query
    filters = AssetFilter(
        status=specs.known(query.status),
        **specs.created_between(query.created_after, query.created_before),
    )
    page = call.mp.assets.list(call.owner, filters, limit=query.limit, cursor=specs.known(query.cursor))
    return Reply(content=schemas.to_asset_page(page), next_cursor=page.next_cursor)


def _shown(call: Call[Any, Any]) -> Reply[schemas.Asset]:
    view = call.mp.assets.get(call.owner, call.asset_id)
    return Reply(content=schemas.to_asset_view(view), etag=asset_etag(view.asset))
