"""The embedded store's signed URLs: `PUT`, `GET` and `HEAD /_store/<key>`, answered like S3."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import attrs
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from musproj.http.store_files import FileAnswer, RangeRefusedError, answer_for, send_file
from musproj.http.store_hops import Run, hop
from musproj.ports.gate import GateRefusedError, PutSession, StoreGate
from musproj.ports.storage import StoredObject

T = TypeVar("T")

HOP_BYTES = 256 * 1024
"""Written in one hop off the loop, which costs about 40 µs; each upload holds as much in memory."""

IDLE_SECONDS = 60.0
"""How long a client may send nothing in the middle of a body: a phone that lost its network never says goodbye."""

ALLOWED = "GET, HEAD, OPTIONS, PUT"

GUARD_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "referrer-policy": "no-referrer",
}
"""What somebody uploaded must never run in a browser, nor tell its URL to others."""

_MAX_FIELDS = 16


def store_routes(gate: StoreGate, run: Run, *, idle_seconds: float = IDLE_SECONDS) -> Sequence[Route]:
    """Return the routes that serve what `gate` allows; all blocking work goes through `run`."""
    return [Route("/_store/{key:path}", _StoreEndpoint(gate, run, idle_seconds))]


@attrs.frozen
class _StoreEndpoint:
    """One ASGI application for all methods of the path, so that a 405 can name them."""

    gate: StoreGate
    run: Run
    idle_seconds: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except GateRefusedError as exc:
            answer = _refusal(exc)
        if answer is not None:
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> ASGIApp | None:
        """Do what is asked; None where nobody is left to answer."""
        if scope["method"] == "PUT":
            return await self._put(scope, receive)
        if scope["method"] in ("GET", "HEAD"):
            return await self._get(scope)
        return _without_object(scope["method"])

    # ── PUT ──

    async def _put(self, scope: Scope, receive: Receive) -> Response | None:
        key, query, headers = _key(scope), _query(scope), _combined(Headers(scope=scope))
        sessions: list[PutSession] = []
        stored = None
        try:
            # Kept in a list, so that one is found whose opening was cancelled half way.
            await self._hop(lambda: sessions.append(self.gate.open_put(key, query, headers)))
            stored = await self._receive_into(sessions[0], receive)
        finally:
            if stored is None and sessions:
                await self._hop(sessions[0].abort)
        if stored is None:
            return None
        return Response(headers={"etag": f'"{stored.etag}"', "cache-control": "no-store", **GUARD_HEADERS})

    async def _receive_into(self, session: PutSession, receive: Receive) -> StoredObject | None:
        pieces: list[bytes] = []
        waiting = 0
        while True:
            message = await self._next_message(receive)
            if message["type"] != "http.request":
                return None
            pieces.append(message.get("body", b""))
            waiting += len(pieces[-1])
            if not message.get("more_body", False):
                return await self._hop(partial(_finish, session, pieces))
            if waiting >= HOP_BYTES:
                await self._hop(partial(session.write, b"".join(pieces)))
                pieces, waiting = [], 0

    async def _next_message(self, receive: Receive) -> Message:
        try:
            async with asyncio.timeout(self.idle_seconds):
                return await receive()
        except TimeoutError:
            raise GateRefusedError(
                408, "RequestTimeout", "Nothing was received on the connection within the timeout period."
            ) from None

    # ── GET and HEAD ──

    async def _get(self, scope: Scope) -> ASGIApp:
        key, query, headers = _key(scope), _query(scope), Headers(scope=scope)
        answers: list[FileAnswer] = []
        try:
            await self._hop(lambda: answers.append(self._open(scope["method"], key, query, headers)))
        except asyncio.CancelledError:
            for answer in answers:
                answer.close()
            raise
        return partial(send_file, answers[0], self.run)

    def _open(self, method: str, key: str, query: dict[str, str], headers: Headers) -> FileAnswer:
        answer = answer_for(self.gate.open_get(method, key, query), method, headers)
        return attrs.evolve(answer, headers={**answer.headers, **GUARD_HEADERS})

    async def _hop(self, call: Callable[[], T]) -> T:
        return await hop(self.run, call)


def _finish(session: PutSession, pieces: list[bytes]) -> StoredObject:
    session.write(b"".join(pieces))
    return session.commit()


def _without_object(method: str) -> Response:
    headers = {"allow": ALLOWED, **GUARD_HEADERS}
    if method == "OPTIONS":
        return Response(status_code=204, headers=headers)
    refused = GateRefusedError(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
    return _refusal(refused, **headers)


def _refusal(exc: GateRefusedError, **more: str) -> Response:
    """Tell it as S3 does; of a HEAD the server sends the headers alone."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(exc.code)}</Code><Message>{escape(exc.message)}</Message></Error>"
    )
    headers = {"cache-control": "no-store", **GUARD_HEADERS, **more}
    if isinstance(exc, RangeRefusedError):
        headers["content-range"] = f"bytes */{exc.size}"
    if exc.status == 408:
        headers["connection"] = "close"  # the rest of the body is not waited for
    return Response(text, exc.status, headers, media_type="application/xml")


def _key(scope: Scope) -> str:
    # The route's pattern looks away from a line end behind the key.
    if "\n" in scope["path"]:
        raise _altered()
    key: str = scope["path_params"]["key"]
    return key


def _query(scope: Scope) -> dict[str, str]:
    """Read the query; a name that comes twice could mean this to one reader and that to another."""
    try:
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise _altered() from None
    query = dict(pairs)
    if len(query) != len(pairs):
        raise _altered()
    return query


def _combined(headers: Headers) -> dict[str, str]:
    """Read the headers; those that come twice are one with both values (RFC 9110, section 5.3)."""
    combined: dict[str, str] = {}
    for name, value in headers.items():
        combined[name] = f"{combined[name]}, {value}" if name in combined else value
    return combined


def _altered() -> GateRefusedError:
    return GateRefusedError(403, "SignatureDoesNotMatch", "The URL is not the one that was signed.")
