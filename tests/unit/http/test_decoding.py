"""Bodies and query strings."""

import asyncio
import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musproj.errors import InvalidError, PayloadTooLargeError
from musproj.http import decoding, queries, schemas
from musproj.http.decoding import (
    MAX_BODY_BYTES,
    MAX_DEPTH,
    MAX_PLACES,
    BodyDecoder,
    ClientGoneError,
    QueryDecoder,
    read_body,
)
from musproj.http.refusals import MalformedJsonError, RequestTimeoutError, UnsupportedMediaTypeError

JOB = BodyDecoder(schemas.JobRequest)
JSON = (b"content-type", b"application/json")


def read(messages, *headers):
    """Read a body that arrives as `messages`; the last stays away where it is None."""
    waiting = list(messages)

    async def receive():
        message = waiting.pop(0)
        if message is None:
            await asyncio.sleep(30)
        return message

    scope = {"http_version": "1.1"}
    return asyncio.run(read_body(scope, receive, dict(headers)))


def part(body: bytes, *, more: bool = False):
    return {"type": "http.request", "body": body, "more_body": more}


# ── reading ──


def test_a_body_is_put_together():
    assert read([part(b"{", more=True), part(b"}")], JSON, (b"transfer-encoding", b"chunked")) == b"{}"
    assert read([part(b"{}")], JSON, (b"content-length", b"2")) == b"{}"


def test_without_a_length_there_is_no_body_to_wait_for():
    assert read([None]) == b""


def test_a_body_over_the_limit_is_refused_before_or_while_it_arrives():
    with pytest.raises(PayloadTooLargeError):
        read([None], JSON, (b"content-length", str(MAX_BODY_BYTES + 1).encode()))
    chunks = [part(b" " * 100_000, more=True) for _ in range(3)]
    with pytest.raises(PayloadTooLargeError):
        read([*chunks, None], JSON, (b"transfer-encoding", b"chunked"))
    with pytest.raises(PayloadTooLargeError):
        read([part(b" " * (MAX_BODY_BYTES + 1))], JSON, (b"content-length", b"1"))


def test_a_slow_body_is_refused(monkeypatch):
    monkeypatch.setattr(decoding, "BODY_SECONDS", 0.01)

    with pytest.raises(RequestTimeoutError):
        read([part(b"{", more=True), None], JSON, (b"content-length", b"9"))


def test_a_client_that_hangs_up_is_noticed():
    with pytest.raises(ClientGoneError):
        read([part(b"{", more=True), {"type": "http.disconnect"}], JSON, (b"content-length", b"9"))


@pytest.mark.parametrize(
    "kind", [b"application/json", b"Application/JSON; charset=UTF-8", b'application/json;charset="utf-8"']
)
def test_json_may_be_declared_in_these_ways(kind):
    assert read([part(b"{}")], (b"content-type", kind), (b"content-length", b"2")) == b"{}"


@pytest.mark.parametrize("kind", [b"", b"text/plain", b"application/jsonx", b"application/json; charset=utf-16"])
def test_no_other_type_is_taken(kind):
    with pytest.raises(UnsupportedMediaTypeError):
        read([part(b"{}")], (b"content-type", kind), (b"content-length", b"2"))


# ── JSON ──


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{} x",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'{"type":"\xff"}',
        b'{"type":"\\ud800"}',
        b'{"type":NaN}',
        b'{"params":{"x":Infinity}}',
        b'{"params":{"x":1e400}}',
        b'{"params":{"x":' + b"9" * 5000 + b"}}",
        b'{"params":' + b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH + b"}",
        b"[" * 100_000,
        b'{"params":{"x":' + b"[" * 50_000,
        b"nul",
        b"'single'",
    ],
    ids=range(16),
)
def test_what_is_no_json_is_malformed(body):
    with pytest.raises(MalformedJsonError):
        JOB.decode(body)


def test_brackets_in_text_are_not_depth():
    body = json.dumps({"type": "gain", "params": {"x": '"[{' * 500}}).encode()

    assert JOB.decode(body).params == {"x": '"[{' * 500}


def test_of_two_equal_keys_the_last_one_counts():
    assert JOB.decode(b'{"type":"a","type":"b"}').type == "b"


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"1", b"true"])
def test_what_is_no_object_is_told_so(body):
    with pytest.raises(InvalidError) as caught:
        JOB.decode(body)

    assert len(caught.value.violations) == 1
    assert caught.value.violations[0].pointer == ""


def test_every_violation_of_a_nested_body_is_found():
    body = {"type": "a\n", "assetID": 1, "inputs": {"a/b~": {"version": 0}}, "force": None, "priority": "low"}

    with pytest.raises(InvalidError) as caught:
        JOB.decode(json.dumps(body).encode())

    found = {(place.pointer, place.code) for place in caught.value.violations}
    assert found == {
        ("/type", "invalid"),
        ("/assetID", "unknown"),
        ("/inputs/a~1b~0/version", "invalid"),
        ("/inputs/a~1b~0/assetId", "required"),
        ("/force", "null"),
        ("/priority", "invalid"),
    }
    details = {place.pointer: place.detail for place in caught.value.violations}
    assert "did you mean assetId?" in details["/assetID"]
    assert "normal" in details["/priority"]


@pytest.mark.parametrize(
    "body",
    [
        {f"field{number}": 1 for number in range(15_000)},
        {"type": "a", "then": [{"x": 1}] * 10_000},
    ],
    ids=["fields", "items"],
)
def test_a_body_full_of_mistakes_costs_no_time(body):
    began = time.monotonic()

    with pytest.raises(InvalidError) as caught:
        BodyDecoder(schemas.UploadRequest).decode(json.dumps(body).encode())

    assert len(caught.value.violations) == MAX_PLACES
    assert time.monotonic() - began < 1


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["type", "assetId", "inputs", "params", "force", "runAt", "inputVersion", "x"])


@given(st.dictionaries(FIELDS, NESTED, max_size=5) | NESTED)
def test_any_json_is_decoded_or_refused(value):
    try:
        JOB.decode(json.dumps(value).encode())
    except InvalidError as exc:
        assert exc.violations  # noqa: PT017 - both outcomes are right
    except MalformedJsonError:
        pass


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(body):
    with suppress(InvalidError, MalformedJsonError):
        JOB.decode(body)


# ── queries ──

DOWNLOAD = QueryDecoder(queries.DownloadQuery)


@pytest.mark.parametrize(("text", "is_redirect"), [(b"1", True), (b"true", True), (b"0", False), (b"false", False)])
def test_a_flag_is_written_in_several_ways(text, is_redirect):
    assert DOWNLOAD.decode(b"redirect=" + text).redirect is is_redirect


def test_an_empty_query_is_the_defaults():
    assert DOWNLOAD.decode(b"") == queries.DownloadQuery()


def test_too_many_parameters_are_refused():
    with pytest.raises(InvalidError, match="At most"):
        DOWNLOAD.decode(b"&".join(b"a%d=1" % number for number in range(100)))


@given(st.binary(max_size=100))
def test_any_query_is_decoded_or_refused(query):
    with suppress(InvalidError):
        DOWNLOAD.decode(query)
