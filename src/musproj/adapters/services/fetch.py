"""Fetching results: redirects by hand, every hop judged, the key only where it belongs, and bytes that are measured."""

import hashlib
import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final

import attrs
import h11
import httpx

from musproj.adapters.services.client import (
    COMMON_HEADERS,
    call_name,
    log_call,
    origin,
    quiet_http_loggers,
    raw_chunks,
    request_id,
    send,
    timeouts,
)
from musproj.adapters.services.deadline import DEADLINE
from musproj.adapters.services.failures import classify, parse_retry_after, scrub
from musproj.adapters.services.hosts import HostRules
from musproj.ports.remote import CallClass, CallError, Fetched

MAX_REDIRECTS: Final = 5

RATE_WINDOW_S: Final = 60.0
"""Over which the minimum rate is measured."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NO_AUDIO: Final = ("html", "xml", "json")  # endings of a media subtype: text/html, image/svg+xml, text/json
_BLANK: Final = b"\xef\xbb\xbf \t\r\n"  # what may stand before the "<" of a page: a byte order mark, white space
_HEAD_BYTES: Final = 64


class ResultFetcher:
    """Fetches results of one service. Usable from several threads at once, for different targets."""

    def __init__(
        self,
        transport: httpx.BaseTransport,
        hosts: tuple[str, ...],
        api_origin: str,
        key_headers: Mapping[str, str],
        upgrade_hosts: tuple[str, ...] = (),
        allow_http_for: frozenset[str] = frozenset(),
        *,
        rate_window_s: float = RATE_WINDOW_S,
    ) -> None:
        """Fetch from `hosts` through `transport`, which stays the caller's.

        Args:
            transport: should be a `GuardedTransport`: a permitted name may still lead to a private address.
            hosts: exact names, and suffixes as `*.amazonaws.com`.
            api_origin: scheme, host and port that may see the key.
            key_headers: the key, for a first hop to `api_origin`.
            upgrade_hosts: whose `http:` URLs are fetched by https.
            allow_http_for: `host:port` entries permitted as they are: self-hosted services and fakes.
            rate_window_s: over which the minimum rate is measured.
        """
        quiet_http_loggers()
        self._transport = transport
        self._rules = HostRules(hosts, upgrade_hosts, allow_http_for)
        self._api_origin = origin(httpx.URL(api_origin))
        self._key_headers = dict(key_headers)
        self._rate_window_s = rate_window_s

    def __repr__(self) -> str:
        return f"ResultFetcher({self._api_origin[1]!r})"

    def fetch(
        self,
        url: str,
        target: Path,
        *,
        expected_size: int | None,
        max_bytes: int,
        check: Callable[[], None],
        deadline_s: float,
        min_rate: float = 1024,
    ) -> Fetched:
        """Fetch `url` into `target`, which appears, or is replaced, once all of it is there and measured.

        Args:
            url: of the result, from the service.
            target: a file in an existing folder.
            expected_size: bytes that the service announced.
            max_bytes: more is not read.
            check: called between the chunks; what it raises ends the fetch.
            deadline_s: seconds for everything together.
            min_rate: bytes per second, over each window.

        Raises:
            CallError: STALE, MISMATCH, TRANSIENT, REFUSED, REJECTED or FATAL.
            RemoteHostRefusedError: a hop leads to a host, scheme, port or address that is not permitted.
            OSError: the target cannot be written.
        """
        limits = _Limits(
            expected_size=expected_size,
            max_bytes=max_bytes,
            pace=_Pace(time.monotonic() + deadline_s, min_rate, self._rate_window_s),
            check=check,
        )
        part = target.with_name(target.name + ".part")
        try:
            with part.open("wb") as file:
                fetched = self._follow(url, file, limits)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return fetched

    def _follow(self, text: str, file: BinaryIO, limits: "_Limits") -> Fetched:
        url = self._rules.checked(text)
        may_know_key = True
        for _ in range(MAX_REDIRECTS + 1):
            limits.check()
            may_know_key = may_know_key and origin(url) == self._api_origin
            outcome = self._hop(url, file, limits, with_key=may_know_key)
            if isinstance(outcome, Fetched):
                return outcome
            url = self._rules.checked(outcome, url)
        raise CallError(CallClass.REJECTED, f"more than {MAX_REDIRECTS} redirects", code="too_many_redirects")

    def _hop(self, url: httpx.URL, file: BinaryIO, limits: "_Limits", *, with_key: bool) -> Fetched | str:
        """Give what was fetched, or where the host sends us."""
        request = httpx.Request(
            "GET",
            url,
            headers=COMMON_HEADERS | {"Accept": "*/*"} | (self._key_headers if with_key else {}),
            extensions={
                "timeout": timeouts(at_most=limits.pace.left()),
                DEADLINE: time.monotonic() + limits.pace.left() + 1.0,  # the pace says it better
            },
        )
        with self._exchange(request) as response:
            if response.status_code in _REDIRECTS and "location" in response.headers:
                return response.headers["location"]
            _judge_head(request, response, limits)
            return _copy(request, response, file, limits)

    @contextmanager
    def _exchange(self, request: httpx.Request) -> Generator[httpx.Response]:
        """Send; translate what goes wrong, also while the body is read; log; close."""
        started = time.monotonic()
        response: httpx.Response | None = None
        try:
            response = send(self._transport, request)
            yield response
        except (httpx.HTTPError, h11.LocalProtocolError) as exc:
            kind = classify(exc, is_effect=False, is_result=True)
            words = scrub(f"{call_name(request)}: {type(exc).__name__}: {exc}", tuple(self._key_headers.values()))
            raise CallError(kind, words) from None  # what it says may show a key
        finally:
            if response is not None:
                response.close()
            log_call(request, response, time.monotonic() - started)


# ── limits ───────────────────────────────────────────────────────────────────────────────────────


class _Pace:
    """A deadline for everything and a minimum rate: httpx limits single reads, so that a drip would go on for ever."""

    def __init__(self, deadline: float, min_rate: float, window_s: float) -> None:
        self._deadline = deadline
        self._min_rate = min_rate
        self._window_s = window_s
        self._since = time.monotonic()
        self._bytes = 0

    def left(self) -> float:
        """Give the seconds until the deadline.

        Raises:
            CallError: TRANSIENT: it is over.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise CallError(CallClass.TRANSIENT, "the fetch ran over its deadline", code="deadline")
        return left

    def restart(self) -> None:
        """Measure the rate from here: what a host took to begin is not the pace of its bytes."""
        self._since, self._bytes = time.monotonic(), 0

    def count(self, size: int) -> None:
        """Count what came.

        Raises:
            CallError: TRANSIENT: the deadline is over, or the window was too slow.
        """
        self.left()
        self._bytes += size
        elapsed = time.monotonic() - self._since
        if elapsed < self._window_s:
            return
        if self._bytes < self._min_rate * elapsed:
            rate = self._bytes / elapsed
            raise CallError(
                CallClass.TRANSIENT, f"{rate:.0f} bytes per second, under {self._min_rate:g}", code="too_slow"
            )
        self.restart()


@attrs.frozen(kw_only=True)
class _Limits:
    expected_size: int | None
    max_bytes: int
    pace: _Pace
    check: Callable[[], None]


# ── the answer ───────────────────────────────────────────────────────────────────────────────────


def _judge_head(request: httpx.Request, response: httpx.Response, limits: _Limits) -> None:
    if response.status_code != HTTPStatus.OK:
        raise _bad_status(request, response)
    subtype = _content_type(response).rpartition("/")[2]
    if subtype.endswith(_NO_AUDIO):
        raise _mismatch(request, response, f"the content type is {_content_type(response)}", "content_type")
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity"}:  # refused, not unpacked: 65 KB of gzip may hold 64 MiB
        raise _mismatch(request, response, f"packed as {encoding}, which was not asked for", "content_encoding")
    length = response.headers.get("content-length", "")
    if length.isdecimal():
        _judge_size(request, response, int(length), limits, complete=True)


def _bad_status(request: httpx.Request, response: httpx.Response) -> CallError:
    if response.is_success:  # 206 to a request without a range, 204
        return _mismatch(request, response, "not the whole file", "status")
    return CallError(
        classify(response, is_effect=False, is_result=True),
        f"{call_name(request)}: {response.status_code}",
        status=response.status_code,
        retry_after=parse_retry_after(response.headers.get("retry-after"), datetime.now(UTC)),
        request_id=request_id(response),
    )


def _copy(request: httpx.Request, response: httpx.Response, file: BinaryIO, limits: _Limits) -> Fetched:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    head, size = b"", 0
    limits.pace.restart()
    for chunk in raw_chunks(response):
        limits.check()
        size += len(chunk)
        limits.pace.count(len(chunk))
        _judge_size(request, response, size, limits, complete=False)
        if len(head) < _HEAD_BYTES:
            head += chunk[: _HEAD_BYTES - len(head)]
            _judge_first_bytes(request, response, head)
        sha256.update(chunk)
        md5.update(chunk)
        file.write(chunk)
    _judge_size(request, response, size, limits, complete=True)
    file.flush()
    os.fsync(file.fileno())
    return Fetched(size=size, sha256=sha256.hexdigest(), md5=md5.hexdigest())


def _judge_first_bytes(request: httpx.Request, response: httpx.Response, head: bytes) -> None:
    if head.lstrip(_BLANK)[:1] in {b"<", b"{"}:
        raise _mismatch(request, response, "the body begins as a page or JSON does", "content")


def _judge_size(
    request: httpx.Request, response: httpx.Response, size: int, limits: _Limits, *, complete: bool
) -> None:
    if size > limits.max_bytes:
        raise _mismatch(request, response, f"over {limits.max_bytes} bytes", "limit_exceeded")
    expected = limits.expected_size
    if expected is not None and (size > expected or (complete and size < expected)):
        raise _mismatch(request, response, f"{size} bytes, announced were {expected}", "size")
    if complete and size == 0:
        raise _mismatch(request, response, "no byte", "size")


def _mismatch(request: httpx.Request, response: httpx.Response, words: str, code: str) -> CallError:
    return CallError(
        CallClass.MISMATCH,
        scrub(f"{call_name(request)}: {words}"),
        status=response.status_code,
        code=code,
        request_id=request_id(response),
    )


def _content_type(response: httpx.Response) -> str:
    return scrub(response.headers.get("content-type", "").partition(";")[0]).lower()
