"""From requests to what the use cases take: the checks that a type alone cannot hold, all of them at once."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from musproj.application.jobs import HIGH_PRIORITY, InputRef, JobSpec
from musproj.application.uploads import UploadSpec
from musproj.application.uploads_then import ThenRequest
from musproj.domain.ids import AssetId
from musproj.domain.job import SINGLE_PORT
from musproj.domain.times import whole_millis
from musproj.errors import InvalidError, Violation
from musproj.http import schemas

T = TypeVar("T")

MAX_PARAMS_BYTES = 32 * 1024
MAX_FILENAME_BYTES = 255
"""NAME_MAX of every common file system."""
YEARS = range(2000, 9000)
"""What a time may lie in: every store, client and time zone holds it."""


def upload_spec(request: schemas.UploadRequest) -> UploadSpec:
    """Return the announced upload.

    Raises:
        InvalidError: with every place that is wrong.
    """
    wrong: list[Violation] = []
    filename = known(request.filename)
    if filename is not None and len(filename.encode()) > MAX_FILENAME_BYTES:
        wrong.append(Violation("/filename", "max_length", f"at most {MAX_FILENAME_BYTES} bytes of UTF-8 are allowed"))
    then = [] if isinstance(request.then, UnsetType) else request.then
    for index, job in enumerate(then):
        _check_params(job.params, f"/then/{index}/params", wrong)
    _refuse(wrong)
    return UploadSpec(
        filename=filename,
        content_type=known(request.content_type),
        size=known(request.size),
        sha256=known(request.sha256),
        name=known(request.name),
        expires_in=seconds(request.expires_in),
        then=tuple(
            ThenRequest(type=known(job.type) or "", preset=known(job.preset), params=known(job.params) or {})
            for job in then
        ),
    )


def job_spec(request: schemas.JobRequest) -> JobSpec:
    """Return the job that is asked for.

    Raises:
        InvalidError: with every place that is wrong.
    """
    wrong: list[Violation] = []
    inputs = _inputs(request, wrong)
    _check_params(request.params, "/params", wrong)
    run_at = _time(request.run_at, "/runAt", wrong)
    expires_at = _time(request.expires_at, "/expiresAt", wrong)
    _refuse(wrong)
    return JobSpec(
        type=known(request.type) or "",
        preset=known(request.preset),
        inputs=inputs,
        params=known(request.params) or {},
        force=request.force,
        priority=HIGH_PRIORITY if request.priority == "high" else 0,
        run_at=run_at,
        expires_at=expires_at,
    )


def seconds(value: int | UnsetType) -> timedelta | None:
    """Return a number of seconds as an interval."""
    return None if isinstance(value, UnsetType) else timedelta(seconds=value)


def known(value: T | UnsetType) -> T | None:
    """Return a value that may be absent, None where it is."""
    return None if isinstance(value, UnsetType) else value


def created_between(after: datetime | UnsetType, before: datetime | UnsetType) -> dict[str, datetime | None]:
    """Return the limits of a list as its filter takes them.

    Raises:
        InvalidError: a time lies out of bounds.
    """
    wrong: list[Violation] = []
    limits = {
        "created_after": _time(after, "createdAfter", wrong),
        "created_before": _time(before, "createdBefore", wrong),
    }
    _refuse(wrong)
    return limits


def version_ref(text: str | UnsetType) -> int | str | None:
    """Return a version as the use cases take it: a number, `latest`, `head`, or None for the default."""
    if isinstance(text, UnsetType):
        return None
    return int(text) if text.isdecimal() else text


def _inputs(request: schemas.JobRequest, wrong: list[Violation]) -> Mapping[str, InputRef]:
    short = {"inputVersion": request.input_version, "inputFile": request.input_file}
    if isinstance(request.inputs, UnsetType):
        if isinstance(request.asset_id, UnsetType):
            wrong.append(Violation("/assetId", "required", "name the input by assetId, or several by inputs"))
            return {}
        ref = InputRef(
            asset_id=AssetId(request.asset_id), version=known(request.input_version), file=known(request.input_file)
        )
        return {SINGLE_PORT: ref}
    wrong += [
        Violation(f"/{name}", "conflict", "is the short form of one input; leave it out where there is inputs")
        for name, value in {"assetId": request.asset_id, **short}.items()
        if value is not UNSET
    ]
    return {
        port: InputRef(asset_id=AssetId(ref.asset_id), version=known(ref.version), file=known(ref.file))
        for port, ref in request.inputs.items()
    }


def _check_params(params: dict[str, Any] | UnsetType, pointer: str, wrong: list[Violation]) -> None:
    if params and len(msgspec.json.encode(params)) > MAX_PARAMS_BYTES:
        wrong.append(Violation(pointer, "max_length", f"at most {MAX_PARAMS_BYTES} bytes of JSON are allowed"))


def _time(value: datetime | UnsetType, pointer: str, wrong: list[Violation]) -> datetime | None:
    if isinstance(value, UnsetType):
        return None
    if value.year in YEARS:
        return whole_millis(value.astimezone(UTC))
    wrong.append(Violation(pointer, "range", f"a time lies between the years {YEARS.start} and {YEARS.stop}"))
    return None


def _refuse(wrong: list[Violation]) -> None:
    if wrong:
        raise InvalidError(violations=tuple(wrong))
