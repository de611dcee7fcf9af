"""Headers of requests and answers."""

import pytest

from musproj.domain.job import WaitReason
from musproj.errors import PreconditionFailedError
from musproj.http import headers
from musproj.http.schemas import HeadRequest
from musproj.testing.clock import NOON
from musproj.testing.records import new_asset, new_job


@pytest.mark.parametrize(
    ("given", "is_known"),
    [
        (b'"r1"', True),
        (b'W/"r1"', True),
        (b'"x" , "r1"', True),
        (b"*", True),
        (b'"r11"', False),
        (b"r1", False),
        (b"", False),
    ],
)
def test_if_none_match_compares_weakly(given, is_known):
    assert headers.matches(given, '"r1"') is is_known


@pytest.mark.parametrize(("given", "allowed"), [(None, None), (b"*", None), (b'"r3", "x", "r5"', {3, 5})])
def test_if_match_allows_these_revisions(given, allowed):
    assert headers.expected_revisions(given) == allowed


@pytest.mark.parametrize(
    "given", [b'W/"r3"', b"", b'"r"', b'"r-1"', '"r\N{ARABIC-INDIC DIGIT ONE}"'.encode(), b'"r' + b"9" * 99 + b'"']
)
def test_if_match_with_no_tag_of_ours_allows_none(given):
    with pytest.raises(PreconditionFailedError):
        headers.expected_revisions(given)


@pytest.mark.parametrize(
    ("prefer", "query", "seconds"),
    [
        (None, None, None),
        (b"wait=5", None, 5),
        (b"respond-async, wait=7; foo", None, 7),
        (b'Wait="9"', None, 9),
        (b"wait=0", None, 1),
        (b"wait=999", None, 30),
        (b"wait=-1", None, None),
        (b"wait=x, return=minimal", None, None),
        (b"wait=" + b"9" * 5000, None, None),
        (b"waiting=5", None, None),
        (None, 12, 12),
        (b"wait=3", 12, 3),
    ],
)
def test_a_wait_is_read_and_clamped(prefer, query, seconds):
    assert headers.wait_seconds(prefer, query) == seconds


def test_remote_work_is_asked_for_seldom():
    job = new_job(new_asset(NOON), NOON, wait_reason=WaitReason.REMOTE)

    assert headers.retry_after(job, NOON) == 15


def test_the_hash_of_a_request_is_of_what_it_means():
    def key(method="POST", path="/x", body=None):
        return headers.idempotency(b"k", method, path, body or HeadRequest(version=1)).body_hash

    assert key() == key(body=HeadRequest(version=1))
    assert len({key(), key(method="PUT"), key(path="/y"), key(body=HeadRequest(version=2))}) == 4


def test_a_link_keeps_the_query_and_replaces_the_cursor():
    link = headers.next_link("/jobs", b"limit=2&cursor=old&createdAfter=2026-01-01T00%3A00%3A00%2B01%3A00", "n=/w")

    assert link == (b'</jobs?limit=2&createdAfter=2026-01-01T00%3A00%3A00%2B01%3A00&cursor=n%3D%2Fw>; rel="next"')
