"""Versions and what hangs on them."""

from musproj.errors import AssetNotFoundError, AssetNotReadyError, InvalidCursorError, VersionNotFoundError
from musproj.http import queries, schemas, specs
from musproj.http.headers import version_etag
from musproj.http.operations import Api, Call, Reply

api = Api()

_ERRORS = (AssetNotFoundError, AssetNotReadyError, VersionNotFoundError)


@api.op(
    "GET", "/assets/{assetId}/versions/{version}", id="getVersion", tag="versions", is_conditional=True, errors=_ERRORS
)
def get_version(call: Call[None, None]) -> Reply[schemas.Version]:
    """Show a version with its provenance."""
    version = call.mp.assets.version(call.owner, call.asset_id, call.version)
    return Reply(content=schemas.to_version(version), etag=version_etag(version.number))


@api.op("GET", "/assets/{assetId}/versions/{version}/attachments", id="listAttachments", tag="versions", errors=_ERRORS)
def list_attachments(call: Call[None, None]) -> Reply[schemas.FileList]:
    """List the attachments of a version, the latest of each name."""
    found = call.mp.assets.attachments(call.owner, call.asset_id, call.version)
    return Reply(content=schemas.to_attachments(found))


@api.op(
    "GET",
    "/assets/{assetId}/versions",
    id="listVersions",
    tag="versions",
    errors=(AssetNotFoundError, InvalidCursorError),
)
def list_versions(call: Call[None, queries.VersionsQuery]) -> Reply[schemas.VersionPage]:
    """List the versions of an asset, newest first unless `order=asc`."""
    query = call.query
    page = call.mp.assets.versions(
        call.owner,
        call.asset_id,
        limit=query.limit,
        cursor=specs.known(query.cursor),
        oldest_first=query.order == "asc",
    )
    return Reply(content=schemas.to_version_page(page), next_cursor=page.next_cursor)
