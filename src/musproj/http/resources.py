"""One resource per path: finds the operation, decodes, hops into its pool, holds, encodes."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET
from starlette.types import Receive, Scope, Send

from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import Job
from musproj.errors import InvalidError, Violation
from musproj.http import headers
from musproj.http.decoding import read_body, refuse_query
from musproj.http.operations import Call, Operation, Raw, Reply
from musproj.http.refusals import MethodNotAllowedError, UnauthenticatedError
from musproj.http.site import Site

Header = tuple[bytes, bytes]
Parts = tuple[int, list[Header], bytes]
"""Status, headers, body."""

_JSON: Header = (b"content-type", b"application/json")
_encode = msgspec.json.Encoder().encode


class Resource:
    """The ASGI application of one path, for all its methods."""

    def __init__(self, site: Site, operations: Sequence[Operation], public_path: str | None) -> None:
        self.path = operations[0].path
        self._site = site
        self._public_path = public_path
        self._operations = {operation.method: operation for operation in operations}
        if "GET" in self._operations:
            self._operations["HEAD"] = self._operations["GET"]
        self._allowed = [*self._operations, "OPTIONS"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        operation = self._operations.get(scope["method"])
        if operation is None:
            status, fields, body = self._without_operation(scope)
        else:
            status, fields, body = await self._answer(operation, scope, receive)
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    def _without_operation(self, scope: Scope) -> Parts:
        if scope["method"] == "OPTIONS":
            return 204, [(b"allow", ", ".join(self._allowed).encode())], b""
        self._site.authenticate(scope)
        raise MethodNotAllowedError(scope["method"], self._allowed)

    async def _answer(self, operation: Operation, scope: Scope, receive: Receive) -> Parts:
        call = await self._decode(operation, scope, receive)
        base = self._public_path if self._public_path is not None else scope.get("root_path", "")
        seconds = _wait_of(operation, call)
        reply = await self._run(operation, call)
        if seconds is not None:
            reply = await self._hold(operation, call, reply, seconds)
        status, fields, body = _parts(operation, call, reply, scope, base)
        if seconds is not None:
            fields.append((b"preference-applied", b"wait=%d" % seconds))
        return status, fields, body

    async def _decode(self, operation: Operation, scope: Scope, receive: Receive) -> Call[Any, Any]:
        site = self._site
        owner, is_known = DEFAULT_OWNER, True
        try:
            owner = site.authenticate(scope)
        except UnauthenticatedError:
            if not operation.is_public:
                raise
            is_known = False
        path: Mapping[str, str] = scope["path_params"]
        _check_path(operation, path)
        query = None
        if operation.query_decoder is not None:
            query = operation.query_decoder.decode(scope["query_string"])
        else:
            refuse_query(scope["query_string"])
        given = dict[bytes, bytes](scope["headers"])
        call: Call[Any, Any] = Call(
            site=site, owner=owner, is_known=is_known, path=path, headers=given, query=query, body=None
        )
        if operation.body_decoder is not None:
            body = await read_body(scope, receive, given)
            call.body = operation.body_decoder.decode(b"{}" if operation.is_body_optional and not body else body)
        if operation.is_idempotent:
            key = given.get(b"idempotency-key")
            call.idempotency = headers.idempotency(key, operation.method, operation.path.format(**path), call.body)
        return call

    async def _run(self, operation: Operation, call: Call[Any, Any]) -> Reply[Any]:
        if operation.pool == "metadata":
            return await self._site.pools.metadata.run(partial(operation.handler, call))
        if operation.pool == "bucket":
            return await self._site.pools.run_on_bucket(partial(operation.handler, call))
        return operation.handler(call)

    async def _hold(self, operation: Operation, call: Call[Any, Any], reply: Reply[Any], seconds: int) -> Reply[Any]:
        """Return the reply when its job has changed enough, or as it is when the time is over."""
        job, render = reply.job, reply.render
        known = call.headers.get(b"if-none-match") if operation.is_conditional else None

        def is_enough(job: Job) -> bool:
            return job.is_terminal if known is None else not headers.matches(known, headers.job_etag(job))

        if job is None or render is None or is_enough(job):
            return reply
        changed = await self._site.watcher.wait_for(job.owner, job.job_id, is_enough, seconds=seconds)
        if changed is None:
            changed = await self._site.pools.metadata.run(partial(call.mp.jobs.get, job.owner, job.job_id))
        return render(changed)


def _check_path(operation: Operation, path: Mapping[str, str]) -> None:
    for name, pattern in operation.path_patterns.items():
        if not pattern.match(path[name]):
            shown = pattern.pattern.removeprefix("^(?:").removesuffix(r")$(?!\n)")
            raise InvalidError(violations=(Violation(name, "pattern", f"matches {shown}"),))


def _wait_of(operation: Operation, call: Call[Any, Any]) -> int | None:
    if not operation.waits:
        return None
    asked = None if call.query.wait is UNSET else call.query.wait
    return headers.wait_seconds(call.headers.get(b"prefer"), asked)


def _parts(operation: Operation, call: Call[Any, Any], reply: Reply[Any], scope: Scope, base: str) -> Parts:
    """Return the answer that a reply stands for."""
    fields: list[Header] = [(b"cache-control", reply.cache_control.encode()), *reply.headers]
    if reply.etag is not None:
        fields.append((b"etag", reply.etag.encode()))
        if operation.is_conditional and _is_unchanged(call, reply.etag):
            return 304, fields, b""
    if reply.location is not None:
        location = f"{base}{reply.location}" if reply.location.startswith("/") else reply.location
        fields.append((b"location", location.encode("latin-1")))
    if reply.retry_after is not None:
        fields.append((b"retry-after", b"%d" % reply.retry_after))
    if reply.is_replay:
        fields.append((b"idempotent-replayed", b"true"))
    if reply.next_cursor is not None:
        path = base + operation.path.format(**call.path)
        fields.append((b"link", headers.next_link(path, scope["query_string"], reply.next_cursor)))
    status = reply.status or operation.status
    if isinstance(reply.content, Raw):
        fields.append((b"content-type", reply.content.media_type.encode()))
        body = reply.content.body
    elif reply.content is not None:
        fields.append(_JSON)
        body = _encode(reply.content)
    else:
        body = b""
    if status != 204:
        fields.append((b"content-length", b"%d" % len(body)))
    return status, fields, body


def _is_unchanged(call: Call[Any, Any], etag: str) -> bool:
    known = call.headers.get(b"if-none-match")
    return known is not None and headers.matches(known, etag)
