"""What a failed call to a service means for the next step: the one place where failures are classified."""

import email.utils
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, cast

import h11
import httpx

from musproj.ports.remote import CallClass, CallError

MAX_RETRY_AFTER_S: Final = 3600.0
"""A longer Retry-After counts as one hour: the operation has a deadline of its own."""

_MESSAGE_LENGTH: Final = 300


# ── classes ──────────────────────────────────────────────────────────────────────────────────────

_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# h11's own error is no httpx.HTTPError: the source gave fewer or more bytes than its Content-Length said.
_OURS: Final = (httpx.LocalProtocolError, httpx.UnsupportedProtocol, h11.LocalProtocolError)
_QUOTA_CODES: Final = frozenset({"exceeded_duration"})  # LALAL.AI v1: the minutes are used up
_UNSURE_CODES: Final = frozenset({"internal_error"})  # LALAL.AI v1: a 400 that may have made a task


def classify(outcome: Exception | httpx.Response, *, is_effect: bool, is_result: bool = False) -> CallClass:
    """Classify an error, or an answer that cannot be used.

    A 2xx answer given here is one whose body could not be read. Codes in the body count if the body was read.

    Args:
        outcome: what the call ended with.
        is_effect: the call creates, starts or bills something.
        is_result: the call fetches a result, perhaps from a host that is not the service's API.
    """
    if isinstance(outcome, httpx.Response):
        return _of_response(outcome, is_effect=is_effect, is_result=is_result)
    if isinstance(outcome, CallError):
        return outcome.kind
    if isinstance(outcome, _OURS):
        return CallClass.FATAL
    if isinstance(outcome, _NOT_SENT):
        return CallClass.TRANSIENT if is_result else CallClass.NOT_SENT  # fetching again is safe either way
    if isinstance(outcome, httpx.TransportError | httpx.DecodingError):
        return _unsure(is_effect=is_effect)
    return CallClass.FATAL


def _of_response(response: httpx.Response, *, is_effect: bool, is_result: bool) -> CallClass:
    # The pages of a result's host carry no codes of the service's API.
    code = None if is_result else error_code(json_object(response))
    if code in _QUOTA_CODES and response.is_client_error:
        return CallClass.QUOTA
    if code in _UNSURE_CODES and response.status_code == HTTPStatus.BAD_REQUEST:
        return _unsure(is_effect=is_effect)
    wants_pause = "retry-after" in response.headers
    return classify_status(response.status_code, is_effect=is_effect, is_result=is_result, wants_pause=wants_pause)


def classify_status(status: int, *, is_effect: bool, is_result: bool = False, wants_pause: bool = False) -> CallClass:
    """Classify a status alone: of an answer, or of the envelope that a service puts into a 200.

    `wants_pause` tells whether the answer had a Retry-After.
    """
    if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and wants_pause):
        return CallClass.REFUSED
    if is_result and status in {401, 403, 404, 410}:  # 401 too: reading the status again tells whether it is the key
        return CallClass.STALE
    if status in {401, 403}:
        return CallClass.AUTH
    if status == HTTPStatus.PAYMENT_REQUIRED:
        return CallClass.QUOTA
    if status == HTTPStatus.REQUEST_TIMEOUT or status >= 500 or 200 <= status < 300:
        return _unsure(is_effect=is_effect)
    return CallClass.REJECTED


def _unsure(*, is_effect: bool) -> CallClass:
    return CallClass.AMBIGUOUS if is_effect else CallClass.TRANSIENT


# ── what an answer says ──────────────────────────────────────────────────────────────────────────


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Give the seconds of a Retry-After (RFC 9110 §10.2.3), from 0 to one hour; None where it says nothing.

    `now` is aware, and what an HTTP date is taken against.
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text, re.ASCII):  # a fraction is against the RFC, and seen
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        until = email.utils.parsedate_to_datetime(text)
        if until.tzinfo is None:  # the asctime form, which is UTC like the others
            until = until.replace(tzinfo=UTC)
        seconds = (until - now).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def json_object(response: httpx.Response) -> dict[str, Any] | None:
    """Give the JSON object of an answer whose body has been read, else None."""
    try:
        value: object = response.json()
    except (ValueError, RecursionError, httpx.StreamError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def error_code(body: Mapping[str, Any] | None) -> str | None:
    """Give the service's own code of an error: LALAL.AI writes `code`, Auphonic `error_code`."""
    for name in ("code", "error_code"):
        code = (body or {}).get(name)
        if isinstance(code, str | int) and code != "":
            return scrub(str(code))
    return None


def error_message(body: Mapping[str, Any] | None) -> str | None:
    """Give the service's own words: text, or whatever structure it put there, as text."""
    words = [
        value if isinstance(value, str) else repr(value)
        for name in ("detail", "error_message", "message", "error", "form_errors")
        if (value := (body or {}).get(name))
    ]
    return "; ".join(words) or None


# A query string or a fragment: after a URL whatever it is, elsewhere if it has the form of one.
_URL_TAIL: Final = re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.IGNORECASE)
_QUERY: Final = re.compile(r"\?[^\s?\"'<>=]*=[^\s\"'<>]*")
_USER: Final = re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://)[^\s/?#\"'<>]*@", re.IGNORECASE)


_HIDDEN: Final[set[str]] = set()
"""Keys of the accounts that this process uses: a service may echo one in any text."""
_SHORTEST_SECRET: Final = 4


def hide(*secrets: str) -> None:
    """Let no text that is scrubbed show these."""
    _HIDDEN.update(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)


def holds_secret(text: str) -> bool:
    """Tell whether a text shows what is hidden."""
    return any(secret in text for secret in _HIDDEN)


def scrub(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Make text safe for logs and records: no secret, no query string, no user of a URL, 300 printable characters."""
    for secret in sorted({*secrets, *_HIDDEN}, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            for form in {secret, secret.lower(), secret.replace("\\", "\\\\")}:
                text = text.replace(form, "***")
    text = _USER.sub(r"\1", text[: 20 * _MESSAGE_LENGTH])
    text = _QUERY.sub("", _URL_TAIL.sub(r"\1", text))
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(text.split())[:_MESSAGE_LENGTH]
