"""Each code that a request can be answered with is provoked once."""

from collections.abc import Callable, Mapping
from functools import partial

import httpx
import pytest

from musproj import errors
from musproj.errors import MusProjError
from musproj.http import problems
from musproj.http.decoding import MAX_BODY_BYTES

JOBS_ONLY = {
    "checksum_mismatch",
    "output_conflict",
    "cancelled",
    "deadline_exceeded",
    "output_invalid",
    "processor_timeout",
    "out_of_memory",
    "worker_crashed",
    "worker_lost",
    "processing_failed",
    "encode_unsupported",
    "audio_silent",
    "loop_not_found",
    "model_invalid",
    "needs_job",
    "budget_exceeded",
    *(code for code in problems.STATUS if code.startswith("remote_")),
}
"""What only a job ends with."""

AT_THE_SERVER = {"request_timeout"}
"""Needs a real connection: tests/integration/http."""

UNKNOWN = "ast_00000000000000000000000000"


def raising(error: Exception):
    def call(*_args, **_options):
        raise error

    return call


def when(error: MusProjError, api) -> httpx.Response:
    """Ask for a job where the store raises `error`."""
    api.mp.metadata.jobs.get = raising(error)
    return api.get("/jobs/job_1")


def on_confirm(error: MusProjError, api) -> httpx.Response:
    """Confirm an upload that the probe refuses with `error`."""
    api.mp.metadata.assets.claim_confirm = raising(error)
    return api.post(f"/uploads/confirm/{api.pending_asset()}")


def gain(api, **body) -> httpx.Response:
    return api.post("/jobs", {"type": "gain", "assetId": api.ready_asset(), **body})


def ended(api, action: str) -> httpx.Response:
    job_id = api.job()
    api.succeed(api.begin())
    return api.post(f"/jobs/{job_id}/{action}")


def mismatched(api) -> httpx.Response:
    api.post("/uploads/request", {"name": "a"}, headers={"idempotency-key": "k"})
    return api.post("/uploads/request", {"name": "b"}, headers={"idempotency-key": "k"})


PROVOKED: Mapping[str, Callable[..., httpx.Response]] = {
    "malformed_json": lambda api: api.post("/jobs", b"{"),
    "unauthenticated": lambda api: api.get("/nowhere"),
    "method_not_allowed": lambda api: api.request("PUT", "/jobs"),
    "payload_too_large": lambda api: api.post("/jobs", b" " * (MAX_BODY_BYTES + 1)),
    "unsupported_media_type": lambda api: api.post("/jobs", b"a=1", headers={"content-type": "text/plain"}),
    "misdirected_request": lambda api: api.get("/jobs", headers={"host": "evil.example"}),
    "headers_too_large": lambda api: api.get("/jobs", headers={"x-large": "y" * 40_000}),
    "not_found": lambda api: api.get("/nowhere"),
    "asset_not_found": lambda api: api.get(f"/assets/{UNKNOWN}"),
    "job_not_found": lambda api: api.get("/jobs/job_1"),
    "version_not_found": lambda api: gain(api, inputVersion=9),
    "file_not_found": lambda api: gain(api, inputFile="vocals"),
    "preset_not_found": lambda api: api.get("/presets/nothing"),
    "object_missing": partial(when, errors.ObjectMissingError()),
    "conflict": lambda api: api.post(f"/assets/{api.ready_asset()}/undelete"),
    "asset_not_ready": lambda api: api.post("/jobs", {"type": "gain", "assetId": api.pending_asset()}),
    "upload_missing": lambda api: api.post(f"/uploads/confirm/{api.pending_asset()}"),
    "object_exists": partial(on_confirm, errors.ObjectExistsError()),
    "object_changed": partial(on_confirm, errors.ObjectChangedError()),
    "job_already_finished": lambda api: ended(api, "cancel"),
    "job_not_retryable": lambda api: ended(api, "retry"),
    "precondition_failed": lambda api: api.request(
        "DELETE", f"/assets/{api.ready_asset()}", headers={"if-match": '"r99"'}
    ),
    "validation_failed": lambda api: gain(api, inputVersion=0),
    "invalid_params": lambda api: gain(api, params={"gainDb": 1e9}),
    "unknown_job_type": lambda api: gain(api, type="gian"),
    "idempotency_mismatch": mismatched,
    "upload_mismatch": partial(on_confirm, errors.UploadMismatchError()),
    "not_audio": partial(on_confirm, errors.NotAudioError()),
    "unsupported_format": partial(on_confirm, errors.UnsupportedFormatError()),
    "audio_corrupt": partial(on_confirm, errors.AudioCorruptError()),
    "audio_empty": partial(on_confirm, errors.AudioEmptyError()),
    "audio_truncated": partial(on_confirm, errors.AudioTruncatedError()),
    "non_finite": partial(on_confirm, errors.NonFiniteError()),
    "limit_exceeded": partial(on_confirm, errors.LimitExceededError()),
    "codec_crashed": partial(on_confirm, errors.CodecCrashedError()),
    "corrupt_record": partial(when, errors.CorruptRecordError()),
    "internal": partial(when, ZeroDivisionError("at /usr/lib/secret.py")),
    "configuration": partial(when, errors.ConfigurationError()),
    "missing_extra": partial(when, errors.MissingExtraError("redis", "redis")),
    "unknown_plugin": partial(when, errors.UnknownPluginError()),
    "schema_too_new": partial(when, errors.SchemaTooNewError()),
    "storage_denied": partial(when, errors.StorageDeniedError()),
    "clock_skew": partial(when, errors.ClockSkewError()),
    "backend_unavailable": partial(when, errors.BackendUnavailableError()),
    "storage_full": partial(when, errors.StorageFullError()),
}


@pytest.mark.parametrize("code", PROVOKED)
def test_a_code_comes_as_a_problem_with_its_status(open_api, code):
    api = open_api(api_key="secret") if code == "unauthenticated" else open_api()

    answer = PROVOKED[code](api)

    problem = answer.json()
    assert (problem["code"], answer.status_code) == (code, problems.STATUS[code])
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"urn:musproj:problem:{code}"
    assert problem["requestId"] == answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert None not in problem.values()
    assert "secret.py" not in answer.text


def test_every_code_of_the_table_is_provoked_or_said_not_to_be():
    assert set(problems.STATUS) - JOBS_ONLY - AT_THE_SERVER == set(PROVOKED)


def test_a_refused_method_is_told_which_ones_are_there(api):
    answer = api.request("PUT", f"/assets/{UNKNOWN}")
    assert answer.headers["allow"] == "GET, PATCH, DELETE, HEAD, OPTIONS"

    options = api.request("OPTIONS", f"/assets/{UNKNOWN}")
    assert (options.status_code, options.headers["allow"]) == (204, answer.headers["allow"])


def test_a_missing_key_is_told_how_to_send_one(open_api):
    answer = open_api(api_key="secret").get("/jobs")

    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in answer.json()["detail"]
