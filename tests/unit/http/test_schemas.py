"""The wire types."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import attrs
import msgspec
import pytest

from musproj.domain.asset import UploadError
from musproj.domain.job import Attempt, FailureKind, JobError
from musproj.http import schemas
from musproj.testing.clock import NOON
from musproj.testing.records import made_attachment, made_version, new_asset, new_job, source_version


def plain(answer) -> dict:
    return json.loads(msgspec.json.encode(answer))


def nulls(value) -> bool:
    if isinstance(value, dict):
        return any(nulls(item) for item in value.values())
    if isinstance(value, list):
        return any(nulls(item) for item in value)
    return value is None


def test_what_is_not_there_is_an_absent_key():
    asset = new_asset(NOON)
    job = new_job(asset, NOON)

    for answer in (schemas.to_asset(asset), schemas.to_job(job), schemas.to_version(source_version(asset, NOON))):
        assert not nulls(plain(answer))
    assert set(plain(schemas.to_asset(asset))) == {"assetId", "status", "createdAt", "versionCount"}
    assert plain(schemas.to_job(job))["progress"] == 0, "though it is the default"


def test_times_are_utc_with_z_and_at_most_microseconds():
    asset = attrs.evolve(new_asset(NOON), created_at=datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC))

    assert plain(schemas.to_asset(asset))["createdAt"] == "2026-01-02T03:04:05.678000Z"


def test_a_failed_upload_shows_its_error_without_the_tag():
    asset = new_asset(NOON).with_upload(error=UploadError("not_audio", "It is a picture.", "etag"))

    assert plain(schemas.to_asset(asset))["uploadError"] == {"code": "not_audio", "detail": "It is a picture."}


def test_an_error_of_an_earlier_attempt_is_no_error_of_a_succeeded_job():
    attempt = Attempt(attempt=1, kind=FailureKind.TRANSIENT, code="x", message="y", at=NOON)
    error = JobError(code="x", message="y", retryable=True)
    job = attrs.evolve(new_job(new_asset(NOON), NOON), error=error, history=(attempt,))

    assert plain(schemas.to_job(job))["error"]["retryable"] is True
    done = plain(schemas.to_job(attrs.evolve(job, status="succeeded"), with_attempts=True))
    assert "error" not in done
    assert done["attemptLog"] == [
        {"attempt": 1, "kind": "transient", "code": "x", "message": "y", "at": "2026-01-01T12:00:00Z"}
    ]


def test_a_version_with_two_files_is_told_by_its_first():
    asset = new_asset(NOON)
    version = made_version(asset, new_job(asset, NOON, "separate"), 3, NOON, names=("vocals", "instrumental"))

    shown = plain(schemas.to_version(version))

    assert shown["objectKey"] == f"assets/{asset.asset_id}/v3/vocals.wav"
    assert [file["name"] for file in shown["files"]] == ["vocals", "instrumental"]
    assert shown["provenance"]["paramsHash"] == version.provenance.params_hash


def test_an_attachment_says_what_made_it():
    asset = new_asset(NOON)
    job = new_job(asset, NOON)

    (file,) = plain(schemas.to_attachments([made_attachment(asset, job, NOON)]))["data"]

    assert file["jobId"] == job.job_id
    assert "duration" not in file


@pytest.mark.parametrize("module", ["musproj.http.schemas", "musproj.http.specs", "musproj.http.problems"])
def test_the_command_line_can_use_the_types_without_the_web_framework(module, monkeypatch):
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    program = f"import sys, {module}; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()

    assert {"starlette", "uvicorn", "asyncio", "anyio"} & set(loaded) == set()
