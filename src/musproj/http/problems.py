"""Errors on the wire: the one table from code to status, and the one function from error to problem (RFC 9457)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import UNSET

from musproj.errors import (
    InvalidCursorError,
    InvalidError,
    MusProjError,
    UnavailableError,
    UnknownJobTypeError,
    UploadMissingError,
    Violation,
)
from musproj.http.refusals import MethodNotAllowedError, UnauthenticatedError
from musproj.http.schemas import ProblemPlace

STATUS: Mapping[str, int] = MappingProxyType(
    {
        # what HTTP itself refuses
        "malformed_json": 400,
        "unauthenticated": 401,
        "method_not_allowed": 405,
        "request_timeout": 408,
        "payload_too_large": 413,
        "unsupported_media_type": 415,
        "misdirected_request": 421,
        "headers_too_large": 431,
        # unknown, or another owner's
        "not_found": 404,
        "asset_not_found": 404,
        "job_not_found": 404,
        "version_not_found": 404,
        "file_not_found": 404,
        "preset_not_found": 404,
        "object_missing": 410,
        # the present state forbids it
        "conflict": 409,
        "asset_not_ready": 409,
        "upload_missing": 409,
        "object_exists": 409,
        "object_changed": 409,
        "job_already_finished": 409,
        "job_not_retryable": 409,
        "precondition_failed": 412,
        # the request, or what was uploaded, is wrong
        "validation_failed": 422,
        "invalid_params": 422,
        "unknown_job_type": 422,
        "idempotency_mismatch": 422,
        "upload_mismatch": 422,
        "not_audio": 422,
        "unsupported_format": 422,
        "audio_corrupt": 422,
        "audio_empty": 422,
        "audio_truncated": 422,
        "audio_silent": 422,
        "loop_not_found": 422,
        "model_invalid": 422,
        "non_finite": 422,
        "limit_exceeded": 422,
        "encode_unsupported": 422,
        "codec_crashed": 422,
        "processing_failed": 422,
        # what a job ends with; no request is answered by it, but every code has its status
        "checksum_mismatch": 409,
        "output_conflict": 409,
        "cancelled": 409,
        "deadline_exceeded": 409,
        "remote_lost": 409,
        "remote_deadline": 409,
        "remote_cancelled": 409,
        "remote_request_changed": 409,
        "remote_result_expired": 409,
        "budget_exceeded": 409,
        "needs_job": 409,
        "remote_rejected": 422,
        "remote_failed": 500,
        "remote_result_invalid": 500,
        "remote_host_refused": 500,
        "remote_unavailable": 503,
        "remote_auth": 503,
        "remote_quota": 503,
        "output_invalid": 500,
        "processor_timeout": 500,
        "out_of_memory": 500,
        "worker_crashed": 500,
        "worker_lost": 500,
        "corrupt_record": 500,
        # us
        "internal": 500,
        "configuration": 500,
        "missing_extra": 500,
        "unknown_plugin": 500,
        "schema_too_new": 500,
        "backend_unavailable": 503,
        "storage_denied": 503,
        "clock_skew": 503,
        "storage_full": 507,
    }
)

FACTS: Mapping[str, str] = MappingProxyType(
    {
        "asset_id": "assetId",
        "job_id": "jobId",
        "version": "version",
        "file": "file",
        "expired": "expired",
        "limit": "limit",
        "value": "value",
        "max": "max",
        "missing_parts": "missingParts",
        "unequal_parts": "unequalParts",
        "status": "jobStatus",
    }
)
"""What a problem tells of an error's facts; `status` is taken by RFC 9457. No path or host name is among them."""

RETRY_AFTER: Mapping[str, int] = MappingProxyType(
    {"upload_missing": 2, "backend_unavailable": 2, "storage_full": 60, "storage_denied": 60, "clock_skew": 60}
)
"""Seconds, by code."""


def status_of(code: str) -> int:
    """Return the status that a code is answered with."""
    return STATUS[code]


def problem(error: Exception, *, instance: str, request_id: str) -> dict[str, Any]:
    """Return the problem document of an error; what is no `MusProjError` is a bug and tells nothing of itself."""
    if not isinstance(error, MusProjError):
        error = MusProjError("The log tells more under this request id.")
    status = STATUS[error.code]
    document: dict[str, Any] = {
        "type": f"urn:musproj:problem:{error.code}",
        "title": TITLES[error.code],
        "status": status,
        "code": error.code,
        "detail": _detail(error, status),
        "instance": instance,
        "requestId": request_id,
        "retryable": error.retryable,
    }
    if status >= 500:
        return document
    if error.hint:
        document["hint"] = error.hint
    document |= {FACTS[name]: value for name, value in error.facts.items() if name in FACTS and value is not None}
    if places := [_place(violation) for violation in _violations(error)]:
        document["errors"] = places
    return document


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a problem as JSON; what JSON cannot hold becomes text."""
    return msgspec.json.encode(document, enc_hook=str)


def headers(error: Exception) -> Iterator[tuple[bytes, bytes]]:
    """Yield the headers that belong to an error's answer."""
    if isinstance(error, MethodNotAllowedError):
        yield b"allow", error.allow.encode()
    if isinstance(error, UnauthenticatedError):
        yield b"www-authenticate", b"Bearer"
    if isinstance(error, UploadMissingError | UnavailableError):
        yield b"retry-after", str(RETRY_AFTER[error.code]).encode()


def _detail(error: MusProjError, status: int) -> str:
    """Return what the client is told; the texts of our own failures name files and hosts, so they stay in the log."""
    if status >= 500 and error.code != "internal":
        return f"{TITLES[error.code]}."
    return error.message


def _violations(error: MusProjError) -> Sequence[Violation]:
    """Return the places of an error; those that can lie in one place alone need not say it."""
    if not isinstance(error, InvalidError) or error.violations:
        return error.violations if isinstance(error, InvalidError) else ()
    if isinstance(error, InvalidCursorError):
        return [Violation("cursor", "invalid", error.message)]
    if isinstance(error, UnknownJobTypeError):
        return [Violation("/type", "unknown", error.message)]
    return ()


def _place(violation: Violation) -> ProblemPlace:
    is_pointer = violation.pointer.startswith("/") or not violation.pointer
    return ProblemPlace(
        pointer=violation.pointer if is_pointer else UNSET,
        parameter=UNSET if is_pointer else violation.pointer,
        code=violation.code,
        detail=violation.detail,
    )


def _titles() -> Mapping[str, str]:
    """Return the fixed title of each code: the first sentence of the class that brings it."""
    found: dict[str, str] = {}
    pending: list[type[MusProjError]] = [MusProjError]
    while pending:
        kind = pending.pop(0)
        pending += kind.__subclasses__()
        if kind.code not in found:
            found[kind.code] = re.split(r"[.;:]", (kind.__doc__ or kind.code).strip(), maxsplit=1)[0]
    return MappingProxyType(found | {"internal": "Something went wrong here"})


TITLES: Mapping[str, str] = _titles()
