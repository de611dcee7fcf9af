"""Every refusal of a store, told as an error of musproj.

Of an answer only its status, its code and its request id are told on: the texts of S3 quote what was signed.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.exchange import Answer, Question
from musproj.adapters.s3.objects import time_of
from musproj.errors import (
    BackendUnavailableError,
    ChecksumMismatchError,
    ClockSkewError,
    ConfigurationError,
    LimitExceededError,
    MusProjError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
    StorageDeniedError,
    StorageFullError,
)

LONGEST_PAUSE_S = 3_600.0
"""Of a Retry-After: nobody waits for longer, whatever a server says."""
SKEW_LIMIT_S = 900
"""S3 takes no signature from further in the future ("RequestTimeTooSkewed"), nor from further back in a header."""

_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9_.-]{1,64})\s*</Code>")

_AWAY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_AWAY_CODES = frozenset(
    {
        "ConditionalRequestConflict",  # 409, another write of the key is under way
        "InternalError",
        "OperationAborted",
        "RequestTimeout",  # 400, the body came too slowly
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "TooManyRequests",
    }
)
_WRONG_BYTES = frozenset(
    {
        "BadDigest",
        "IncompleteBody",
        "InvalidDigest",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)
_DENIED_CODES = frozenset(
    {
        "AuthorizationQueryParametersError",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "Unauthorized",
    }
)
_TOO_LARGE = frozenset({"EntityTooLarge", "MaxMessageLengthExceeded"})
_ELSEWHERE = frozenset({"AuthorizationHeaderMalformed", "InvalidRegionName", "PermanentRedirect", "TemporaryRedirect"})

_WRONG_KEY = "the access key is wrong or was revoked"
_WRONG_SECRET = "the secret key does not belong to the access key"  # noqa: S105 - a sentence
_OTHER_BUCKET = "the token is for another bucket, or may only read (Cloudflare's is called Object Read & Write)"
_JURISDICTION = "the bucket lies in a jurisdiction, which has a host of its own (r2://…?jurisdiction=eu)"
_PROXY = "a proxy changed or dropped a header that was signed"
_CLOCK = "this host's clock is wrong"
_STALE_TOKEN = "the session token has expired"  # noqa: S105 - a sentence

_CAUSES: Mapping[str, tuple[str, ...]] = {
    "InvalidAccessKeyId": (_WRONG_KEY, _JURISDICTION),
    "SignatureDoesNotMatch": (_WRONG_SECRET, _PROXY),
    "ExpiredToken": (_STALE_TOKEN,),
    "InvalidToken": (_STALE_TOKEN,),
    "TokenRefreshRequired": (_STALE_TOKEN,),
    "AccessDenied": (_OTHER_BUCKET, _JURISDICTION, _CLOCK),
}
_ANY_CAUSE = (_WRONG_KEY, _OTHER_BUCKET, _CLOCK, _JURISDICTION, _PROXY)
"""Where nothing more is said, as in the answer to a HEAD, which has no body."""


def refusal(answer: Answer, asked: Question, address: BucketAddress, *, now: float, life_s: int) -> MusProjError:
    """Return the error that an answer means.

    Args:
        answer: Any but a success.
        asked: What was asked.
        address: Of the bucket.
        now: Unix seconds of this host.
        life_s: How long the request's signature was to be good.
    """
    code = code_of(answer)
    facts = _facts(answer, asked, code)
    told = f"{address.host} answered {answer.status}{f' {code}' if code else ''} to {asked}"
    if answer.status in _AWAY_STATUSES or code in _AWAY_CODES:
        wait = retry_after(answer.headers.get("retry-after"), now)
        return BackendUnavailableError(f"The bucket cannot serve now: {told}.", retry_after=wait, **facts)
    if answer.status in (401, 403) or code in _DENIED_CODES:
        return _denied(answer, code, told, now=now, life_s=life_s, facts=facts)
    for fits, error in _OTHERS:
        if fits(answer.status, code):
            return error(told, asked, address, facts)
    return ConfigurationError(f"The bucket does not do what is asked: {told}.", **facts)


def unreachable(asked: Question, address: BucketAddress, reason: str, hint: str | None = None) -> MusProjError:
    """Return the error for a request that got no whole answer; it may have had its effect."""
    hint = hint or "Is the endpoint right, and does this host reach it?"
    text = f"The bucket at {address.host} does not answer to {asked}: {reason}."
    return BackendUnavailableError(text, hint=hint, key=asked.key)


def code_of(answer: Answer) -> str | None:
    """Return S3's name of an error, where the answer has a body that says it."""
    found = _CODE.search(answer.body)
    return found[1].decode() if found else None


def retry_after(text: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After asks for, which it has as such or as a date."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return min(float(text), LONGEST_PAUSE_S)
    moment = time_of(text)
    return None if moment is None else min(max(0.0, moment.timestamp() - now), LONGEST_PAUSE_S)


def _denied(
    answer: Answer, code: str | None, told: str, *, now: float, life_s: int, facts: Mapping[str, Any]
) -> MusProjError:
    theirs = time_of(answer.headers.get("date"))
    ahead = now - theirs.timestamp() if theirs else 0.0
    # What a query carries is called "expired" or "not valid yet", under the code of any other refusal.
    if code == "RequestTimeTooSkewed" or ahead > SKEW_LIMIT_S or -ahead > life_s:
        way = "ahead of" if ahead >= 0 else "behind"
        return ClockSkewError(
            f"This host's clock is {abs(ahead):.0f} s {way} the bucket's: {told}.",
            hint="Set the clock; let NTP keep it.",
            **{**facts, "skew_s": ahead},
        )
    causes = _CAUSES.get(code or "", _ANY_CAUSE)
    return StorageDeniedError(f"The bucket refuses us: {told}.", hint=f"Maybe {'; or '.join(causes)}.", **facts)


def _facts(answer: Answer, asked: Question, code: str | None) -> dict[str, Any]:
    request_id = answer.headers.get("x-amz-request-id")
    return {"key": asked.key, "store_status": answer.status, "store_code": code, "request_id": request_id}


_Maker = Callable[[str, Question, BucketAddress, Mapping[str, Any]], MusProjError]


def _no_bucket(told: str, _: Question, address: BucketAddress, facts: Mapping[str, Any]) -> MusProjError:
    hint = "It is never made by musproj: make it, or mend its name in MUSPROJ_STORAGE."
    return ConfigurationError(f"There is no bucket {address.bucket!r}: {told}.", hint=hint, **facts)


def _missing(_: str, asked: Question, __: BucketAddress, facts: Mapping[str, Any]) -> MusProjError:
    return ObjectMissingError(f"There is no object {asked.key}.", **facts)


def _condition(_: str, asked: Question, __: BucketAddress, facts: Mapping[str, Any]) -> MusProjError:
    if asked.method == "PUT":
        return ObjectExistsError(f"There is an object {asked.key} already.", **facts)
    return ObjectChangedError(f"{asked.key} is no longer the object that was recorded.", **facts)


def _wrong_bytes(told: str, asked: Question, _: BucketAddress, facts: Mapping[str, Any]) -> MusProjError:
    return ChecksumMismatchError(f"{asked.key}: the bytes did not arrive as they were announced; {told}.", **facts)


def _too_large(told: str, asked: Question, _: BucketAddress, facts: Mapping[str, Any]) -> MusProjError:
    return LimitExceededError(f"{asked.key} is too large for one request: {told}.", limit="bytes", **facts)


def _full(told: str, _: Question, __: BucketAddress, facts: Mapping[str, Any]) -> MusProjError:
    return StorageFullError(f"The store is full: {told}.", **facts)


def _elsewhere(told: str, _: Question, address: BucketAddress, facts: Mapping[str, Any]) -> MusProjError:
    text = f"The bucket {address.bucket!r} is not at this endpoint or not in the region {address.region!r}: {told}."
    return ConfigurationError(text, hint="Mend endpoint and region in MUSPROJ_STORAGE.", **facts)


_OTHERS: tuple[tuple[Callable[[int, str | None], bool], _Maker], ...] = (
    (lambda _, code: code == "NoSuchBucket", _no_bucket),
    (lambda status, code: status == 404 or code in ("NoSuchKey", "NoSuchUpload"), _missing),
    (lambda status, _: status == 412, _condition),
    (lambda _, code: code in _WRONG_BYTES, _wrong_bytes),
    (lambda status, code: status == 413 or code in _TOO_LARGE, _too_large),
    (lambda status, _: status == 507, _full),
    (lambda status, code: 300 <= status < 400 or code in _ELSEWHERE, _elsewhere),
)
"""The first that fits."""
