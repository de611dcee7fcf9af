"""The client of a service's API: it holds the key, speaks to one host, and says what a failed call means."""

import logging
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import IO, Any, Final

import h11
import httpx

from musproj._version import __version__
from musproj.adapters.services.deadline import DEADLINE
from musproj.adapters.services.failures import (
    classify,
    error_code,
    error_message,
    hide,
    json_object,
    parse_retry_after,
    scrub,
)
from musproj.adapters.services.guard import FRESH_CONNECTION
from musproj.ports.remote import CallClass, CallError

FilePart = tuple[str, IO[bytes] | bytes, str]
"""File name, body and media type of one multipart part; a real file or bytes, so that it gets a length."""

MAX_ANSWER_BYTES: Final = 1 << 20
"""A JSON answer is a few KiB; more is a page, or an attack."""

COMMON_HEADERS: Final = {
    "User-Agent": f"musproj/{__version__}",
    "Accept-Encoding": "identity",  # httpx unpacks without a bound: 65 KB of gzip may hold 64 MiB
}

CONNECT_S: Final = 5.0
READ_S: Final = 60.0
WRITE_S: Final = 60.0
POOL_S: Final = 10.0
SLOWEST_BYTES_PER_S: Final = 64 << 10
"""A body that goes slower than this has no more time."""
SEND_BYTES: Final = 64 << 10
"""Of a raw body at a time: the deadline is looked at between two."""

_SCHEMES: Final = frozenset({"Bearer", "Token", "Key", "Basic"})
"""Words of a header that are no key."""

logger = logging.getLogger("musproj.services")


def quiet_http_loggers() -> None:
    """Keep the loggers of httpx and httpcore at WARNING: their lines carry whole URLs, with what signs them."""
    for name in ("httpx", "httpcore"):
        noisy = logging.getLogger(name)
        noisy.setLevel(max(noisy.level, logging.WARNING))


def timeouts(read_s: float = READ_S, *, at_most: float = float("inf")) -> dict[str, float | None]:
    """Give the timeouts of a request, as its extension wants them: each is one wait, not their sum."""
    limits = httpx.Timeout(connect=CONNECT_S, write=WRITE_S, read=read_s, pool=POOL_S).as_dict()
    return {name: min(value, at_most) if value is not None else None for name, value in limits.items()}


def send(transport: httpx.BaseTransport, request: httpx.Request) -> httpx.Response:
    """Send one request; the caller reads the body by `raw_chunks` and closes the answer.

    Not by an `httpx.Client`: that would look into the environment for proxies and netrc, keep cookies, log whole
    URLs, and build a redirect's request, with our headers, before anybody asks for it.
    """
    response = transport.handle_request(request)
    response.request = request
    return response


def raw_chunks(response: httpx.Response) -> Iterator[bytes]:
    """Give the body as it comes: packed as it is, and not gathered into chunks, which would hide a drip.

    Not `iter_raw`: it refuses an answer that was made of bytes, as those of `httpx.MockTransport` are.
    """
    assert isinstance(response.stream, httpx.SyncByteStream)
    yield from response.stream


class ApiClient:
    """Calls one service with its key. Usable from several threads at once.

    No call is repeated here: whether that is safe depends on its `CallClass`, and on the service.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        *,
        transport: httpx.BaseTransport,
    ) -> None:
        """Speak to `base_url` and no other host, with `headers`, one of which is the key.

        The transport stays the caller's and is never closed here. Every effect call has a new connection
        (a `GuardedTransport` gives it): an idle one that the server closed would look ambiguous.
        """
        quiet_http_loggers()
        self._transport = transport
        self._base = httpx.URL(base_url)
        self._headers = httpx.Headers(COMMON_HEADERS | {"Accept": "application/json"})
        self._headers.update(headers)
        words = [word for value in headers.values() for word in (value, *value.split())]
        # The longest first, so that a part of it does not hide the whole.
        self._secrets = tuple(sorted((word for word in words if word not in _SCHEMES), key=len, reverse=True))
        hide(*self._secrets)

    def __repr__(self) -> str:
        return f"ApiClient({self._base.host!r})"

    def call(
        self,
        method: str,
        path: str,
        *,
        is_effect: bool = False,
        json: object = None,
        content: bytes | Iterable[bytes] | None = None,
        files: Mapping[str, FilePart] | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout: float | None = None,
    ) -> dict[str, Any]:
        """Make one call and give the JSON object of its answer; an empty one for 204.

        Args:
            method: of HTTP.
            path: below the base URL, with its query if it has one.
            is_effect: the call creates, starts or bills something: doubt is then AMBIGUOUS, not TRANSIENT.
            json: body, to be written as JSON.
            content: raw body; one that is iterated needs a Content-Length among `headers`, or it is sent chunked.
            files: multipart body.
            headers: beside those of the client.
            read_timeout: seconds for each read of the answer, which an upload may keep waiting.

        Raises:
            CallError: the call failed, and `kind` tells how.
            RemoteHostRefusedError: the API's host leads to an address that is not public.
        """
        merged = self._headers.copy()
        merged.update(headers)
        request = httpx.Request(
            method,
            self._url(path),
            headers=merged,
            json=json,
            content=content,
            files=files,
            extensions={
                "timeout": timeouts(read_timeout or READ_S),
                FRESH_CONNECTION: is_effect,
            },
        )
        length = request.headers.get("content-length", "")
        sending = int(length) / SLOWEST_BYTES_PER_S if length.isdecimal() else 0.0
        request.extensions[DEADLINE] = time.monotonic() + CONNECT_S + (read_timeout or READ_S) + sending
        response = self._sent(request, is_effect=is_effect, limit_s=read_timeout or READ_S)
        return self._answer(request, response, is_effect=is_effect)

    def _sent(self, request: httpx.Request, *, is_effect: bool, limit_s: float) -> httpx.Response:
        started = time.monotonic()
        response: httpx.Response | None = None
        try:
            response = self._exchange(request, limit_s)
            return response
        except (httpx.HTTPError, h11.LocalProtocolError) as exc:
            words = f"{call_name(request)}: {type(exc).__name__}: {exc}"
            raise CallError(classify(exc, is_effect=is_effect), scrub(words, self._secrets)) from None
        finally:  # also where the host was refused, or the source of the body failed
            log_call(request, response, time.monotonic() - started)

    def _url(self, path: str) -> httpx.URL:
        """Put a path below the base URL, and refuse whatever names another place."""
        try:
            url = httpx.URL(path)
        except httpx.InvalidURL:
            url = None
        if url is None or url.scheme or url.netloc or "\\" in path or ".." in url.path.split("/"):
            raise CallError(CallClass.FATAL, f"not a path of this API: {scrub(path, self._secrets)}")
        return self._base.copy_with(raw_path=self._base.raw_path.rstrip(b"/") + b"/" + url.raw_path.lstrip(b"/"))

    def _exchange(self, request: httpx.Request, limit_s: float) -> httpx.Response:
        response = send(self._transport, request)
        try:
            body = _read_limited(response, time.monotonic() + limit_s)
        finally:
            response.close()
        return httpx.Response(
            response.status_code,
            headers=[(name, value) for name, value in response.headers.raw if name.lower() != b"content-encoding"],
            content=body,
            request=request,
        )

    def _answer(self, request: httpx.Request, response: httpx.Response, *, is_effect: bool) -> dict[str, Any]:
        body = json_object(response)
        if response.is_success and body is not None:
            return body
        if response.status_code == HTTPStatus.NO_CONTENT:
            return {}
        words = error_message(body) or ("the answer is no JSON object" if response.is_success else "")
        said = f"{call_name(request)}: {response.status_code} {words}"
        code = error_code(body)
        raise CallError(
            classify(response, is_effect=is_effect),
            scrub(said, self._secrets),
            status=response.status_code,
            code=scrub(code, self._secrets) if code else None,
            body=body,
            retry_after=parse_retry_after(response.headers.get("retry-after"), datetime.now(UTC)),
            request_id=request_id(response),
        )


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Give scheme, encoded host and port of a URL; httpx writes the scheme's own port as None."""
    return url.scheme, url.raw_host.decode("ascii").lower(), url.port


def request_id(response: httpx.Response) -> str | None:
    """Give the id under which the service's support finds the call."""
    value = response.headers.get("x-request-id")
    return scrub(value) if value else None


def log_call(request: httpx.Request, response: httpx.Response | None, seconds: float) -> None:
    """Write the one line of a call: its path without the query, which may be what signs it."""
    status = response.status_code if response is not None else None
    logger.info(
        "%s -> %s in %d ms",
        call_name(request),
        status or "no answer",
        round(seconds * 1000),
        extra={
            "action": "service_call",
            "method": request.method,
            "host": request.url.host,
            "status": status,
            "ms": round(seconds * 1000),
            "request_id": request_id(response) if response is not None else None,
        },
    )


def call_name(request: httpx.Request) -> str:
    """Name a call in messages and logs, without its query."""
    where = request.url.netloc.decode("ascii")
    return scrub(f"{request.method} {where}{request.url.raw_path.partition(b'?')[0].decode('ascii')}")


def _read_limited(response: httpx.Response, deadline: float) -> bytes:
    """Read a body of at most 1 MiB, by the deadline: httpx limits each read, not all of them together.

    Raises:
        httpx.HTTPError: it is longer, takes longer, or is packed in an unknown way.
    """
    packed = bytearray()
    for chunk in raw_chunks(response):
        packed += chunk
        if len(packed) > MAX_ANSWER_BYTES:
            raise httpx.DecodingError(f"the answer is over {MAX_ANSWER_BYTES} bytes", request=response.request)
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the answer drips", request=response.request)
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return bytes(packed)
    if encoding not in {"gzip", "x-gzip"}:  # we asked for none; a proxy may zip all the same
        raise httpx.DecodingError(f"the answer is packed as {scrub(encoding)}", request=response.request)
    return _unzipped(bytes(packed), response.request)


def _unzipped(packed: bytes, request: httpx.Request) -> bytes:
    unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16: a gzip header and trailer
    try:
        body = unzip.decompress(packed, MAX_ANSWER_BYTES)
    except zlib.error as exc:
        raise httpx.DecodingError(f"the answer is no gzip: {exc}", request=request) from exc
    if not unzip.eof:
        raise httpx.DecodingError("the gzip is cut, or unpacks to more than is read", request=request)
    return body
