"""A layer before Swift's S3 door that behaves as Cloudflare R2 does where Swift does not.

Facts after R2's documentation (S3 API compatibility, multipart objects, platform limits) and public reports; where
its behaviour is not known, the harsher reading. Swift runs in an environment without musproj, so this file stands
alone: it needs the standard library only and is copied there. As paste filters, in this order:

    pipeline = r2 … s3api r2_behind …
    [filter:r2]        paste.filter_factory = musproj_r2_layer:filter_factory
    [filter:r2_behind] paste.filter_factory = musproj_r2_layer:behind_factory
"""

import io
import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, unquote

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Answer = tuple[int, str, str]
"""Status, code, message."""

MIB = 1024**2
LEAST_PART, LARGEST_PART = 5 * MIB, 5 * 1024 * MIB
LARGEST_PUT = 5 * 1024 * MIB - 5 * MIB
"""R2 docs, platform limits: 4.995 GiB, which is 5 GiB less 5 MiB."""
MOST_PARTS = 10_000
KEY_BYTES, METADATA_BYTES = 1_024, 8_192
LONGEST_S = 604_800
WRITE_PAUSE_S = 1.0
"""Between two writes to a key."""
BODY_LIMIT = 4 * MIB
"""Of a list of parts."""

_ABSENT = (
    "tagging",
    "acl",
    "versioning",
    "policy",
    "website",
    "requestPayment",
    "notification",
    "legal-hold",
    "retention",
)
"""Subresources that R2 does not have."""
_ABSENT_HEADERS = (
    "x-amz-tagging", "x-amz-acl", "x-amz-grant-read", "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-object-lock-mode", "x-amz-object-lock-legal-hold", "x-amz-object-lock-retain-until-date",
)  # fmt: skip
_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    412: "Precondition Failed",
    429: "Too Many Requests",
    501: "Not Implemented",
}
_IGNORE, _CREATE_ONLY = "r2.ignore_condition", "r2.create_only"
"""What the layer tells the filter behind the S3 door, where no signature depends on a header any more."""


def filter_factory(_global: dict[str, str], **local: str) -> Callable[[App], App]:
    """Return the filter before the S3 door; `one_write_per_second = true` switches R2's rate limit on."""
    return lambda app: R2Layer(app, one_write_per_second=local.get("one_write_per_second", "") == "true")


def behind_factory(_global: dict[str, str], **_local: str) -> Callable[[App], App]:
    """Return the filter behind the S3 door."""
    return BehindTheDoor


class R2Layer:
    """Refuses what R2 refuses, and remembers the sizes of parts, which Swift does not compare."""

    def __init__(self, app: App, *, one_write_per_second: bool) -> None:
        """Stand before `app`."""
        self._app = app
        self._is_slow = one_write_per_second
        self._parts: dict[tuple[str, int], int] = {}
        self._written: dict[str, float] = {}
        self._locks: dict[str, threading.Lock] = {}

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        request = Request(environ)
        refusal = refusal_of(request) or self._refusal_of_parts(request) or self._refusal_of_haste(request)
        if refusal is not None:
            return answer(refusal, request, start_response)
        environ.pop("HTTP_EXPECT", None)  # no interim answer
        if request.is_copy or request.completes is not None:
            environ[_IGNORE] = True
            environ[_CREATE_ONLY] = request.header("cf-copy-destination-if-none-match") == "*"
        if request.method == "PUT" and request.header("if-none-match") == "*" and not request.is_copy:
            with self._locks.setdefault(
                request.path, threading.Lock()
            ):  # strongly consistent: of racing writers one wins
                return list(self._app(environ, start_response))
        return self._app(environ, start_response)

    def _refusal_of_parts(self, request: "Request") -> Answer | None:
        if request.part is not None and request.method == "PUT":
            self._parts[request.part] = request.length
        if request.completes is None or request.method != "POST":
            return None
        numbers = [int(number) for number in re.findall(rb"<PartNumber>\s*(\d+)\s*</PartNumber>", request.body())]
        sizes = [self._parts.get((request.completes, number), 0) for number in numbers]
        if not sizes:
            return None
        *before, last = sizes
        if any(size != before[0] for size in before) or (before and last > before[0]):
            return 400, "InvalidPart", "All non-trailing parts must have the same length."
        if any(size < LEAST_PART for size in before):
            return 400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size."
        return None

    def _refusal_of_haste(self, request: "Request") -> Answer | None:
        if not self._is_slow or request.method not in ("PUT", "DELETE") or not request.key or request.part is not None:
            return None
        now = time.monotonic()
        last, self._written[request.path] = self._written.get(request.path, 0.0), now
        if now - last < WRITE_PAUSE_S:
            return 429, "ServiceUnavailable", "Reduce your concurrent request rate for the same object."
        return None


class BehindTheDoor:
    """Ignores the conditions that R2 ignores, and obeys the one that only R2 has."""

    def __init__(self, app: App) -> None:
        """Stand before `app`."""
        self._app = app

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Pass a request on."""
        if environ.get(_IGNORE):
            environ.pop("HTTP_IF_NONE_MATCH", None)
            if environ.get(_CREATE_ONLY) and environ["REQUEST_METHOD"] == "PUT" and self._is_there(environ):
                start_response("412 Precondition Failed", [("content-length", "0")])
                return [b""]
        return self._app(environ, start_response)

    def _is_there(self, environ: Environ) -> bool:
        seen: list[str] = []

        def note(status: str, _headers: object, _exc: object = None) -> None:
            seen.append(status)

        look = {**environ, "REQUEST_METHOD": "HEAD", "CONTENT_LENGTH": "0", "wsgi.input": io.BytesIO(), _IGNORE: False}
        look.pop("HTTP_X_COPY_FROM", None)
        list(self._app(look, note))
        return bool(seen) and seen[0].startswith("200")


class Request:
    """What an S3 request asks for, path style."""

    def __init__(self, environ: Environ) -> None:
        """Look at a WSGI environment."""
        self._environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = environ.get("PATH_INFO", "/")
        self.query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        self.bucket, _, self.key = self.path.lstrip("/").partition("/")
        self.is_plain = self.bucket == "healthcheck"

    def header(self, name: str) -> str:
        """Return a header, or an empty text."""
        wsgi = name.upper().replace("-", "_")
        return str(self._environ.get(wsgi if name == "content-type" else f"HTTP_{wsgi}", ""))

    @property
    def length(self) -> int:
        """The length of the body; 0 where it is not said."""
        return int(self._environ.get("CONTENT_LENGTH") or 0)

    @property
    def is_copy(self) -> bool:
        """Whether an object is to be copied."""
        return self.method == "PUT" and bool(self.header("x-amz-copy-source"))

    @property
    def part(self) -> tuple[str, int] | None:
        """The upload and the number of a part."""
        if "uploadId" not in self.query or not self.query.get("partNumber", ["x"])[0].isdecimal():
            return None
        return self.query["uploadId"][0], int(self.query["partNumber"][0])

    @property
    def completes(self) -> str | None:
        """The upload that is to be completed."""
        return self.query["uploadId"][0] if self.method == "POST" and "uploadId" in self.query else None

    def body(self) -> bytes:
        """Return a small body, and leave it to be read again."""
        body: bytes = self._environ["wsgi.input"].read(min(self.length, BODY_LIMIT))
        self._environ["wsgi.input"] = io.BytesIO(body)
        return body

    def metadata_bytes(self) -> int:
        """Return how long the user's metadata is, names and values."""
        prefix = "HTTP_X_AMZ_META_"
        return sum(len(n) - len(prefix) + len(str(v)) for n, v in self._environ.items() if n.startswith(prefix))


def refusal_of(request: Request) -> Answer | None:
    """Return why R2 would refuse the request whatever was before, or None."""
    if request.is_plain:
        return None
    if not request.bucket or (request.method == "PUT" and not request.key and not request.query):
        return 403, "AccessDenied", "Access Denied"
    if request.method == "POST" and not request.key and "multipart/form-data" in request.header("content-type"):
        return 501, "NotImplemented", "POST policies are not implemented."
    if any(name in request.query for name in _ABSENT) or any(request.header(name) for name in _ABSENT_HEADERS):
        return 501, "NotImplemented", "This is not implemented."
    if request.header("x-amz-server-side-encryption") == "aws:kms":
        return 501, "NotImplemented", "KMS is not implemented."
    if _is_streamed(request):
        return 501, "NotImplemented", "STREAMING payloads and trailers are not implemented."
    return _limit_of(request)


def _is_streamed(request: Request) -> bool:
    return (
        request.header("x-amz-content-sha256").startswith("STREAMING-")
        or "aws-chunked" in request.header("content-encoding")
        or bool(request.header("x-amz-trailer"))
    )


def _limit_of(request: Request) -> Answer | None:
    if len(unquote(request.key).encode("utf-8", "surrogateescape")) > KEY_BYTES:
        return 400, "KeyTooLongError", "Your key is too long."
    if request.metadata_bytes() > METADATA_BYTES:
        return 400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size."
    expires = request.query.get("X-Amz-Expires", ["0"])[0]
    if expires.isdecimal() and int(expires) > LONGEST_S:
        return 400, "AuthorizationQueryParametersError", "X-Amz-Expires must be less than a week (in seconds)."
    if request.part is not None:
        if request.part[1] > MOST_PARTS or request.length > LARGEST_PART:
            return 400, "InvalidArgument", "Part number must be an integer between 1 and 10000, its size at most 5 GiB."
    elif request.method == "PUT" and request.length > LARGEST_PUT:
        return 400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size."
    return None


def answer(refusal: Answer, request: Request, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer as R2 words it: XML, but to a HEAD no body."""
    status, code, message = refusal
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()
    )
    if request.method == "HEAD":
        body = b""
    headers = [("content-type", "application/xml"), ("content-length", str(len(body)))]
    if request.length > BODY_LIMIT:
        headers.append(("connection", "close"))  # nobody reads all that
    else:
        request.body()
    start_response(f"{status} {_REASONS[status]}", headers)
    return [body]
