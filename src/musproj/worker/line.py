"""What a job's process and its supervisor say to each other: JSON in frames over a socket pair.

The process that runs other people's code over untrusted audio holds no connection to the records. It asks its
supervisor, which knows the job and the token and asks the store for it; so it can touch no other job.
"""

import json
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from musproj.codec import from_plain, to_plain
from musproj.domain.ids import AssetId, JobId, Owner
from musproj.domain.ledger import (
    AssetDeleted,
    CancelledFirst,
    CommitAnswer,
    Committed,
    Failure,
    NumberTaken,
    ReserveAnswer,
    Reserved,
    Stale,
)
from musproj.domain.version import Version
from musproj.errors import BackendUnavailableError, CorruptRecordError, MusProjError, VersionNotFoundError
from musproj.ports.jobs import Publication

MAX_MESSAGE_BYTES = 16 << 20
"""A result travels in a message; what is larger belongs into an attachment."""

Message = Mapping[str, Any]

_LENGTH = struct.Struct("<I")
_READ_BYTES = 1 << 16
_ANSWERS = {cls.__name__: cls for cls in (AssetDeleted, CancelledFirst, Committed, NumberTaken, Reserved, Stale)}


@attrs.frozen
class Reserve:
    """A run asks for its number."""

    above: int


@attrs.frozen
class Commit:
    """A run asks to publish."""

    publication: Publication


@attrs.frozen
class Failed:
    """A run could not be done."""

    failure: Failure


@attrs.frozen
class Stopped:
    """A run stopped because it was asked to."""


Saying = Reserve | Commit | Failed | Stopped
_SAYINGS = {cls.__name__: cls for cls in (Reserve, Commit, Failed, Stopped)}


def encode(value: object) -> bytes:
    """Return a saying or an answer as a frame."""
    body = json.dumps({"is": type(value).__name__, **to_plain(value)}).encode()
    return _LENGTH.pack(len(body)) + body


def encode_error(error: MusProjError) -> bytes:
    """Return as a frame that the store could not be asked."""
    body = json.dumps({"is": "error", "message": error.message, "away": error.code == "backend_unavailable"}).encode()
    return _LENGTH.pack(len(body)) + body


def read_saying(message: Message) -> Saying:
    """Return what a job's process said.

    Raises:
        CorruptRecordError: it makes no sense.
    """
    kind: Any = _SAYINGS.get(str(message.get("is")))
    if kind is None:
        raise CorruptRecordError("A job's process said something unknown.")
    saying: Saying = from_plain(kind, message)
    return saying


class Inbox:
    """Puts the frames of one peer together; `feed` it what was received."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rest = bytearray()

    def feed(self, received: bytes) -> Iterator[Message]:
        """Yield the messages that are complete now.

        Raises:
            CorruptRecordError: a frame is too long or no JSON object.
        """
        self._rest += received
        while len(self._rest) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._rest)
            if length > MAX_MESSAGE_BYTES:
                raise CorruptRecordError(f"A message of {length} bytes is over {MAX_MESSAGE_BYTES}.")
            if len(self._rest) < _LENGTH.size + length:
                return
            body = bytes(self._rest[_LENGTH.size : _LENGTH.size + length])
            del self._rest[: _LENGTH.size + length]
            yield _parse(body)


def receive(line: socket.socket, inbox: Inbox) -> list[Message] | None:
    """Return what has arrived without waiting for more, or None where the peer has closed its end.

    Raises:
        CorruptRecordError: as `Inbox.feed`.
    """
    messages: list[Message] = []
    while True:
        try:
            received = line.recv(_READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return messages
        except OSError:
            received = b""
        if not received:
            return messages or None
        messages += inbox.feed(received)


@attrs.define(eq=False)
class ParentLine:
    """A job's process's end: its records and its ledger, answered by the supervisor."""

    _line: socket.socket
    _versions: Mapping[tuple[AssetId, int], Version]
    """Its inputs', read before it began."""
    _inbox: Inbox = attrs.field(factory=Inbox, init=False)

    def version(self, owner: Owner, asset_id: AssetId, number: int) -> Version:  # noqa: ARG002 - checked by who read it
        """Return a version of the job's inputs.

        Raises:
            VersionNotFoundError: it is none of them.
        """
        found = self._versions.get((asset_id, number))
        if found is None:
            raise VersionNotFoundError(f"Version {number} of {asset_id} is no input.", asset_id=asset_id)
        return found

    def reserve(self, job_id: JobId, token: str, *, above: int = 0) -> ReserveAnswer:  # noqa: ARG002 - the supervisor knows both
        """Ask for the number."""
        answer: ReserveAnswer = self._ask(Reserve(above))
        return answer

    def commit(self, job_id: JobId, token: str, publication: Publication) -> CommitAnswer:  # noqa: ARG002 - as above
        """Ask to publish."""
        answer: CommitAnswer = self._ask(Commit(publication))
        return answer

    def say(self, saying: Saying) -> None:
        """Tell something that needs no answer."""
        self._line.sendall(encode(saying))

    def _ask(self, saying: Saying) -> Any:
        self.say(saying)
        while True:
            received = self._line.recv(_READ_BYTES)
            if not received:
                raise BackendUnavailableError("The supervisor is gone.")
            for message in self._inbox.feed(received):
                return _read_answer(message)


def _read_answer(message: Message) -> object:
    if message["is"] == "error":
        raise (BackendUnavailableError if message["away"] else MusProjError)(message["message"])
    return from_plain(_ANSWERS[message["is"]], message)


def _parse(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except ValueError as exc:
        raise CorruptRecordError("A message is no JSON.") from exc
    if not isinstance(message, dict):
        raise CorruptRecordError("A message is no JSON object.")
    return message
