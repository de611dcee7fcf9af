"""The page about the API names what there is."""

import re
from pathlib import Path

import pytest

from musproj.http import problems
from musproj.http.routes import API

PAGE = Path(__file__).parents[3].joinpath("docs/reference/http-api.md").read_text(encoding="utf-8")
ONLY_ON_JOBS = {
    "audio_silent",
    "cancelled",
    "checksum_mismatch",
    "deadline_exceeded",
    "encode_unsupported",
    "loop_not_found",
    "model_invalid",
    "out_of_memory",
    "output_conflict",
    "output_invalid",
    "processing_failed",
    "processor_timeout",
    "worker_crashed",
    "worker_lost",
    "needs_job",
    "budget_exceeded",
    *(code for code in problems.STATUS if code.startswith("remote_")),
}


@pytest.mark.parametrize("operation", API.operations, ids=lambda operation: operation.id)
def test_every_operation_is_on_the_page(operation):
    if operation.path == "/docs/style.css":
        return

    assert re.search(rf"`{operation.method} {re.escape(operation.path)}`", PAGE)


@pytest.mark.parametrize("status", sorted(set(problems.STATUS.values())))
def test_the_codes_of_each_status_are_on_the_page(status):
    codes = {code for code, found in problems.STATUS.items() if found == status} - ONLY_ON_JOBS
    row = re.search(rf"^\| {status} \| (.*) \|$", PAGE, re.MULTILINE)

    assert row
    assert codes == set(re.findall(r"`(\w+)`", row[1])) - {"expired", "jobStatus", "limit", "value", "max"}
