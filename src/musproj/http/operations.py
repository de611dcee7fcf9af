"""Operations: one declaration each; routing, decoding, pool, encoding and the OpenAPI document follow from it."""

import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import attrs
import msgspec

from musproj.composition import MusProj
from musproj.domain.ids import AssetId, JobId, Owner
from musproj.domain.job import Job
from musproj.errors import MusProjError, PreconditionFailedError
from musproj.http import headers
from musproj.http.decoding import BodyDecoder, QueryDecoder
from musproj.http.queries import VersionRef
from musproj.http.schemas import Id, TypeName
from musproj.http.site import Site
from musproj.http.specs import version_ref
from musproj.ports.assets import Idempotency

B = TypeVar("B")
Q = TypeVar("Q")
T = TypeVar("T")

PoolName = Literal["metadata", "bucket", "loop"]
"""Where a handler runs; on the loop only what touches neither store nor disk."""

PATH_TYPES: Mapping[str, Any] = {
    "assetId": Id,
    "jobId": Id,
    "version": VersionRef,
    "name": TypeName,
    "service": TypeName,
    "mac": Id,
}


@attrs.define(kw_only=True, eq=False)
class Call(Generic[B, Q]):
    """One request, decoded: what a handler gets."""

    site: Site
    owner: Owner
    is_known: bool
    """Whether the client has shown a valid key, or needs none."""
    path: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    query: Q
    body: B
    idempotency: Idempotency | None = None

    @property
    def mp(self) -> MusProj:
        """The installation."""
        return self.site.mp

    @property
    def asset_id(self) -> AssetId:
        """The asset in the path."""
        return AssetId(self.path["assetId"])

    @property
    def job_id(self) -> JobId:
        """The job in the path."""
        return JobId(self.path["jobId"])

    @property
    def version(self) -> int | str | None:
        """The version in the path."""
        return version_ref(self.path["version"])

    def expected_revision(self) -> int | None:
        """Return the revision that the asset in the path must have, None where `If-Match` does not say.

        Raises:
            PreconditionFailedError: it has none of the allowed ones.
            AssetNotFoundError: several are allowed, and the asset is unknown or another owner's.
        """
        expected = headers.expected_revisions(self.headers.get(b"if-match"))
        if expected is None or len(expected) == 1:
            return next(iter(expected)) if expected else None
        present = self.mp.metadata.assets.get(self.owner, self.asset_id).revision
        if present not in expected:
            raise PreconditionFailedError(f"Asset {self.asset_id} changed since it was read.", asset_id=self.asset_id)
        return present


@attrs.frozen
class Raw:
    """A body that is not JSON of ours."""

    body: bytes
    media_type: str


@attrs.define(kw_only=True, eq=False)
class Reply(Generic[T]):
    """What a handler says; the rest of the answer follows from its declaration."""

    content: T | Raw | None = None
    status: int | None = None
    """None: the declared one."""
    etag: str | None = None
    location: str | None = None
    """A path of ours, or an absolute URL."""
    retry_after: int | None = None
    is_replay: bool = False
    next_cursor: str | None = None
    cache_control: str = "private, no-cache"
    headers: Sequence[tuple[bytes, bytes]] = ()
    job: Job | None = None
    """What the request may be held for, where the operation waits."""
    render: "Callable[[Job], Reply[T]] | None" = None
    """Makes the reply anew from what the job has become."""


Handler = Callable[[Call[Any, Any]], Reply[Any]]


def _body_decoder(operation: "Operation") -> BodyDecoder[Any] | None:
    return None if operation.body is None else BodyDecoder(operation.body)


def _query_decoder(operation: "Operation") -> QueryDecoder[Any] | None:
    return None if operation.query is None else QueryDecoder(operation.query)


def _path_patterns(operation: "Operation") -> Mapping[str, re.Pattern[str]]:
    return {name: re.compile(pattern_of(PATH_TYPES[name])) for name in operation.path_names}


@attrs.frozen(kw_only=True, eq=False)
class Operation:
    """One declared operation."""

    method: str
    path: str
    id: str
    tag: str
    summary: str
    handler: Handler
    body: type | None
    query: type | None
    returns: type | None
    status: int = 200
    pool: PoolName = "metadata"
    errors: Sequence[type[MusProjError]] = ()
    also: Mapping[int, str] = attrs.field(factory=dict[int, str])
    """Further statuses of a good answer, and what they mean."""
    is_body_optional: bool = False
    is_public: bool = False
    is_hidden: bool = False
    """Left out of the document."""
    is_conditional: bool = False
    """Sends an entity tag and answers `If-None-Match`."""
    is_guarded: bool = False
    """Heeds `If-Match`."""
    is_idempotent: bool = False
    """Heeds `Idempotency-Key`."""
    waits: bool = False
    """Heeds `Prefer: wait=N`."""
    has_location: bool = False
    has_retry_after: bool = False

    body_decoder: BodyDecoder[Any] | None = attrs.field(
        init=False, default=attrs.Factory(_body_decoder, takes_self=True)
    )
    query_decoder: QueryDecoder[Any] | None = attrs.field(
        init=False, default=attrs.Factory(_query_decoder, takes_self=True)
    )
    path_patterns: Mapping[str, re.Pattern[str]] = attrs.field(
        init=False, default=attrs.Factory(_path_patterns, takes_self=True)
    )

    @property
    def path_names(self) -> Sequence[str]:
        """The parameters in the path."""
        return re.findall(r"{(\w+)}", self.path)


class Api:
    """A list of operations, filled by decorating their handlers."""

    def __init__(self, *parts: "Api") -> None:
        self.operations: list[Operation] = [operation for part in parts for operation in part.operations]

    def op(
        self,
        method: str,
        path: str,
        *,
        id: str,  # noqa: A002 - the word of OpenAPI
        tag: str,
        **options: Any,
    ) -> Callable[[Callable[[Call[B, Q]], Reply[T]]], Callable[[Call[B, Q]], Reply[T]]]:
        """Declare the operation that the decorated handler answers.

        What the body, the query and the answer are is read from the handler's types, the summary is its docstring.
        """

        def declare(handler: Callable[[Call[B, Q]], Reply[T]]) -> Callable[[Call[B, Q]], Reply[T]]:
            hints = typing.get_type_hints(handler)
            body, query = (_type_or_none(kind) for kind in typing.get_args(hints["call"]))
            (returns,) = (_type_or_none(kind) for kind in typing.get_args(hints["return"]))
            operation = Operation(
                method=method,
                path=path,
                id=id,
                tag=tag,
                summary=(inspect.getdoc(handler) or "").partition("\n")[0].rstrip("."),
                handler=handler,
                body=body,
                query=query,
                returns=returns,
                **options,
            )
            self.operations.append(operation)
            return handler

        return declare

    def by_path(self) -> Mapping[str, Sequence[Operation]]:
        """Return the operations of each path, in the order of declaration."""
        found: dict[str, list[Operation]] = {}
        for operation in self.operations:
            found.setdefault(operation.path, []).append(operation)
        return found


def pattern_of(kind: Any) -> str:
    """Return the pattern of an annotated text type."""
    metas: Iterable[object] = typing.get_args(kind)[1:]
    return next(meta.pattern for meta in metas if isinstance(meta, msgspec.Meta) and meta.pattern)


def _type_or_none(kind: Any) -> Any:
    return None if kind is type(None) else kind
