"""What a delivery says: a job's id and a number, or nothing."""

import pytest

from musproj.adapters.rq.queue import _parsed
from musproj.adapters.rq.wire import RqWire
from musproj.domain.ids import new_job_id
from musproj.testing.clock import NOON


def test_what_we_write_we_read():
    job_id = new_job_id(NOON)
    for number in (1, 20):
        assert _parsed(RqWire().delivery_id(job_id, number)) == (job_id, number)
    assert _parsed("with-hyphens-inside-3") == ("with-hyphens-inside", 3)


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "-",
        "-1",
        "job",
        "job-",
        "job-x",
        "job-1.5",
        "job--1x",
        "a b-1",
        "../job-1",
        "job-²",
        "job-٣",
        "x" * 65 + "-1",
    ],
)
def test_garbage_is_nothing(garbage):
    assert _parsed(garbage) is None
