"""What surrounds every route, as pure ASGI: the envelope of each answer, the gate, CORS."""

import logging
import secrets
import time
from collections.abc import Sequence
from contextvars import ContextVar
from itertools import chain, count
from re import compile as pattern

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from musproj.errors import MusProjError
from musproj.http import problems
from musproj.http.auth import Hosts
from musproj.http.decoding import ClientGoneError
from musproj.http.refusals import HeadersTooLargeError, MisdirectedError, RouteNotFoundError

log = logging.getLogger(__name__)

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
HEALTH = ("/healthz", "/readyz", "/startupz")
"""Answered for any host: whoever probes may know no more than an address."""

request_id: ContextVar[str] = ContextVar("musproj_request_id", default="")
"""Of the request at hand, on the loop and in the threads that work for it."""

_GIVEN_ID = pattern(rb"[A-Za-z0-9_.-]{1,64}")
_BOOT = f"req_{secrets.token_hex(8)}"
_numbers = count()

_DEFAULTS: Sequence[tuple[bytes, bytes]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)

_CORS_ALLOW_HEADERS = (
    b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, Last-Event-ID, traceparent, "
    b"X-Amz-Checksum-Sha256, X-Request-Id"
)
_CORS_EXPOSE_HEADERS = (
    b"ETag, Location, Link, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, Idempotent-Replayed, "
    b"Preference-Applied"
)


class Envelope:
    """Gives each answer its request id and safe headers, each error its problem, each request its line in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        this_id = _id_of(scope)
        request_id.set(this_id)
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message["headers"]}
                extra = [field for field in _DEFAULTS if field[0] not in given]
                message["headers"] = [*message["headers"], *extra, (b"x-request-id", this_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except ClientGoneError:
            pass
        except Exception as exc:
            if status:
                raise  # the answer is half out: the server can only cut the connection
            await _send_problem(exc, scope, this_id, send_on)
        if log.isEnabledFor(logging.INFO):
            _log_served(scope, status, began, this_id)


class Gate:
    """Lets a request through to the routes: header limits, host, path prefix."""

    def __init__(self, app: ASGIApp, *, hosts: Hosts | None, prefix: str) -> None:
        self._app = app
        self._hosts = hosts
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request."""
        if scope["type"] == "http":
            self._check_size(scope)
            if self._prefix:
                self._enter_prefix(scope)
            if self._hosts is not None and not self._hosts.allow(scope) and not self._is_health(scope):
                raise MisdirectedError(
                    hint="The Host header is none of this server's names; set MUSPROJ_ALLOWED_HOSTS or an API key."
                )
        await self._app(scope, receive, send)

    def _check_size(self, scope: Scope) -> None:
        fields: Sequence[tuple[bytes, bytes]] = scope["headers"]
        size = len(scope["query_string"]) + len(scope["path"])
        if len(fields) > MAX_HEADERS or size + sum(map(len, chain.from_iterable(fields))) > MAX_HEADER_BYTES:
            raise HeadersTooLargeError(f"At most {MAX_HEADERS} headers and {MAX_HEADER_BYTES} bytes are allowed.")

    def _enter_prefix(self, scope: Scope) -> None:
        root = scope.get("root_path", "") + self._prefix
        if not scope["path"].startswith(f"{root}/"):
            raise RouteNotFoundError(f"Every path begins with {root}/ here.")
        scope["root_path"] = root

    def _is_health(self, scope: Scope) -> bool:
        path: str = scope["path"]
        return path.removeprefix(scope.get("root_path", "")) in HEALTH


class Cors:
    """Lets pages of exactly these origins call the API; without credentials, since a key is no cookie."""

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.rstrip("/").encode() for origin in origins if origin not in ("*", "null"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers, or answer the preflight."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fields = dict[bytes, bytes](scope["headers"])
        origin = fields.get(b"origin")
        allowed = [(b"access-control-allow-origin", origin)] if origin in self._origins else []
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in fields:
            await self._preflight(allowed, send)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                expose = [(b"access-control-expose-headers", _CORS_EXPOSE_HEADERS)] if allowed else []
                message["headers"] = [*message["headers"], (b"vary", b"Origin"), *allowed, *expose]
            await send(message)

        await self._app(scope, receive, send_on)

    async def _preflight(self, allowed: Sequence[tuple[bytes, bytes]], send: Send) -> None:
        fields = [(b"vary", b"Origin"), *allowed]
        if allowed:
            fields += [
                (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
                (b"access-control-allow-headers", _CORS_ALLOW_HEADERS),
                (b"access-control-max-age", b"600"),
            ]
        await send({"type": "http.response.start", "status": 204, "headers": fields})
        await send({"type": "http.response.body", "body": b""})


def _id_of(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN_ID.fullmatch(value):
            given: str = value.decode("ascii")
            return given
    return f"{_BOOT}{next(_numbers):x}"


async def _send_problem(exc: Exception, scope: Scope, this_id: str, send: Send) -> None:
    document = problems.problem(exc, instance=scope["path"], request_id=this_id)
    status = document["status"]
    if status >= 500:
        log.error(
            "%s %s failed: %s",
            scope["method"],
            _route_of(scope),
            exc,
            exc_info=None if isinstance(exc, MusProjError) else exc,
            extra={"action": "request_failed", "requestId": this_id, "code": document["code"]},
        )
    body = problems.encode(document)
    fields = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        *problems.headers(exc),
    ]
    if status in (408, 413):
        fields.append((b"connection", b"close"))  # what is still to come of the body is not waited for
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def _route_of(scope: Scope) -> str:
    """Return the route's template: a path holds ids, a query may hold a credential."""
    return getattr(scope.get("route"), "path", "-")


def _log_served(scope: Scope, status: int, began: float, this_id: str) -> None:
    log.info(
        "%s %s %d",
        scope["method"],
        _route_of(scope),
        status,
        extra={
            "action": "request_served",
            "requestId": this_id,
            "method": scope["method"],
            "route": _route_of(scope),
            "status": status,
            "durationMs": round((time.perf_counter() - began) * 1000, 2),
        },
    )
