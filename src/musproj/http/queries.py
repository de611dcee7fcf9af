"""What a query string may hold; unknown and repeated names are refused as unknown body fields are."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from musproj.domain.asset import AssetStatus
from musproj.domain.job import JobStatus
from musproj.http.schemas import MAX_INT, FileName, Id, whole

VersionRef = Annotated[
    str, Meta(pattern=whole("[1-9][0-9]{0,8}|latest|head"), description="A number, `latest` or `head`.")
]
Wait = Annotated[int, Meta(ge=0, le=MAX_INT, description="Seconds to hold the request, clamped to 1..30.")]


class Query(Struct, rename="camel", forbid_unknown_fields=True):
    """The parameters of one operation."""


class WaitQuery(Query, kw_only=True):
    """Of an operation that can be held until its job has ended."""

    wait: Wait | UnsetType = UNSET


class JobQuery(WaitQuery, kw_only=True):
    """Of one job."""

    include: Annotated[Literal["attempts"], Meta(description="Adds `attemptLog`.")] | UnsetType = UNSET


class PageQuery(Query, kw_only=True):
    """Of a list."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(max_length=512, description="`nextCursor` of the page before.")] | UnsetType = UNSET


class AssetsQuery(PageQuery, kw_only=True):
    """Of the list of assets; deleted ones are shown only where `status` asks for them."""

    status: AssetStatus | UnsetType = UNSET
    created_after: Annotated[datetime, Meta(tz=True, description="Inclusive.")] | UnsetType = UNSET
    created_before: Annotated[datetime, Meta(tz=True, description="Exclusive.")] | UnsetType = UNSET


class JobsQuery(PageQuery, kw_only=True):
    """Of the list of jobs."""

    asset_id: Id | UnsetType = UNSET
    status: JobStatus | UnsetType = UNSET
    created_after: Annotated[datetime, Meta(tz=True, description="Inclusive.")] | UnsetType = UNSET
    created_before: Annotated[datetime, Meta(tz=True, description="Exclusive.")] | UnsetType = UNSET


class VersionsQuery(PageQuery, kw_only=True):
    """Of the list of versions."""

    order: Literal["asc", "desc"] = "desc"


class DownloadQuery(Query, kw_only=True):
    """Of a signed download."""

    version: VersionRef | UnsetType = UNSET
    file: FileName | UnsetType = UNSET
    expires_in: Annotated[int, Meta(ge=1, le=MAX_INT, description="Seconds, clamped to 1 s..24 h.")] | UnsetType = UNSET
    disposition: Literal["attachment", "inline"] = "attachment"
    redirect: Annotated[bool, Meta(description="Answer 302 to the signed URL.")] = False
