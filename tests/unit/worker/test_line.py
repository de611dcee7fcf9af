import json
import socket
import struct
import threading
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from musproj.domain.job import FailureKind
from musproj.domain.ledger import (
    AssetDeleted,
    CancelledFirst,
    Committed,
    Failure,
    NumberTaken,
    Reserved,
    Stale,
)
from musproj.errors import BackendUnavailableError, CorruptRecordError, MusProjError, VersionNotFoundError
from musproj.ports.jobs import Publication
from musproj.testing.records import new_asset, new_job, source_version
from musproj.worker.line import (
    MAX_MESSAGE_BYTES,
    Commit,
    Failed,
    Inbox,
    ParentLine,
    Reserve,
    Stopped,
    encode,
    encode_answer,
    encode_error,
    read_saying,
    receive,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASSET = new_asset(NOON)
JOB = new_job(ASSET, NOON)
VERSION = source_version(ASSET, NOON)


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def hear(frame: bytes):
    (message,) = Inbox().feed(frame)
    return read_saying(message)


@pytest.mark.parametrize(
    "saying",
    [
        Reserve(7),
        Commit(Publication(version=VERSION, moves_head=True, result={"levels": [1.5, "x"]})),
        pytest.param(Commit(Publication(result=None)), id="empty Commit"),
        Failed(Failure(kind=FailureKind.THROTTLED, code="c", message="m", retry_after=timedelta(seconds=3))),
        Stopped(),
    ],
    ids=lambda saying: type(saying).__name__,
)
def test_a_saying_arrives_as_it_was_said(saying):
    assert hear(encode(saying)) == saying


def test_frames_are_put_together_however_they_are_cut():
    frames = encode(Reserve(1)) + encode(Reserve(2))
    inbox = Inbox()
    heard = [read_saying(message) for byte in frames for message in inbox.feed(bytes([byte]))]
    assert heard == [Reserve(1), Reserve(2)]


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("<I", MAX_MESSAGE_BYTES + 1),
        struct.pack("<I", 2) + b"{]",
        struct.pack("<I", 2) + b"[]",
        struct.pack("<I", 14) + b'{"is": "Other"}'[:14],
    ],
)
def test_nonsense_is_refused(frame):
    with pytest.raises(CorruptRecordError):
        hear(frame)


@pytest.mark.parametrize("message", [{}, {"is": "Other"}, {"is": "Reserve"}, {"is": "Commit", "publication": 7}])
def test_a_saying_that_makes_no_sense_is_refused(message):
    with pytest.raises(CorruptRecordError):
        read_saying(message)


def test_receiving_never_waits_and_tells_the_end(ends):
    ours, theirs = ends
    inbox = Inbox()
    assert receive(ours, inbox) == []
    theirs.sendall(encode(Stopped()))
    theirs.close()
    assert receive(ours, inbox) == [{"is": "Stopped"}]
    assert receive(ours, inbox) is None


@pytest.mark.parametrize(
    "answer",
    [Reserved(3), Stale(), AssetDeleted(), NumberTaken(), Committed(JOB, again=True), CancelledFirst(JOB)],
    ids=lambda answer: type(answer).__name__,
)
def test_an_answer_arrives_as_it_was_given(ends, answer):
    assert ask(ends, encode_answer(answer)) == answer


def test_a_store_that_is_away_is_told_apart_from_a_bug(ends):
    with pytest.raises(BackendUnavailableError, match="away"):
        ask(ends, encode_error(BackendUnavailableError("away")))
    with pytest.raises(MusProjError, match="bug") as caught:
        ask(ends, encode_error(MusProjError("bug")))
    assert not isinstance(caught.value, BackendUnavailableError)


def test_a_supervisor_that_is_gone_is_a_store_that_is_away(ends):
    ours, theirs = ends
    ours.close()
    with pytest.raises((BackendUnavailableError, BrokenPipeError)):
        ParentLine(theirs, JOB, {}).reserve(JOB.job_id, "t")


def test_a_job_sees_the_versions_of_its_inputs_and_no_other(ends):
    line = ParentLine(ends[1], JOB, {(ASSET.asset_id, 1): VERSION})
    assert line.version(JOB.owner, ASSET.asset_id, 1) == VERSION
    with pytest.raises(VersionNotFoundError):
        line.version(JOB.owner, ASSET.asset_id, 2)


def test_an_answer_is_small_however_large_the_job_is():
    large = attrs.evolve(JOB, result={"curve": [0.0] * 100_000})
    assert len(encode_answer(Committed(large))) < 100


def test_a_peer_that_never_stops_talking_does_not_keep_the_listener(ends):
    ours, theirs = ends
    for _ in range(100):
        theirs.sendall(encode(Reserve(1)))
    assert len(receive(ours, Inbox(), reads=1)) <= 100
    assert receive(ours, Inbox(), reads=0) == []


def ask(ends, reply: bytes):
    """Ask as a job's process does, and answer with `reply`."""
    ours, theirs = ends

    def answer():
        length = struct.unpack("<I", ours.recv(4))[0]
        assert json.loads(ours.recv(length))["is"] == "Commit"
        ours.sendall(reply)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        return ParentLine(theirs, JOB, {}).commit(JOB.job_id, "t", Publication())
    finally:
        thread.join()
