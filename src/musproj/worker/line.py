"""What a job's process and its supervisor say to each other: JSON in frames over a socket pair.

The process that runs other people's code over untrusted audio holds no connection to the records. It asks its
supervisor, which knows the job and the token and asks the store for it; so it can touch no other job.
"""

import json
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import attrs

from musproj.codec import from_plain, to_plain
from musproj.domain.ids import AssetId, JobId, Owner
from musproj.domain.job import Job
from musproj.domain.ledger import (
    MESSAGE_LIMIT,
    AssetDeleted,
    CancelledFirst,
    CommitAnswer,
    Committed,
    Ended,
    Failure,
    Moved,
    NoteAnswer,
    Noted,
    NumberTaken,
    ParkAnswer,
    Requeued,
    ReserveAnswer,
    Reserved,
    Stale,
)
from musproj.domain.remote import RemoteFault, RemoteOp
from musproj.domain.version import Version
from musproj.errors import (
    BackendUnavailableError,
    CorruptRecordError,
    MusProjError,
    UnavailableError,
    VersionNotFoundError,
)
from musproj.ports.jobs import Publication
from musproj.ports.remote import Pause, RemoteAccounts

MAX_MESSAGE_BYTES = 16 << 20
"""A result travels in a message; what is larger belongs into an attachment."""

Message = Mapping[str, Any]

Answer = ReserveAnswer | CommitAnswer | NoteAnswer | ParkAnswer

_LENGTH = struct.Struct("<I")
_READ_BYTES = 1 << 16
_READS = 64


@attrs.frozen
class Reserve:
    """A run asks for its number."""

    above: int


@attrs.frozen
class Commit:
    """A run asks to publish."""

    publication: Publication


@attrs.frozen
class Note:
    """A run tells of its operation at a service."""

    op: RemoteOp


@attrs.frozen
class Park:
    """A run has nothing to do but to wait for its service."""

    op: RemoteOp
    until: datetime
    stage: str


@attrs.frozen
class AskAccount:
    """A run asks what is known of its account, or tells; `method` is one of `RemoteAccounts`."""

    method: str
    arguments: Mapping[str, object]


@attrs.frozen
class Failed:
    """A run could not be done."""

    failure: Failure


@attrs.frozen
class Stopped:
    """A run stopped because it was asked to."""


Saying = Reserve | Commit | Note | Park | AskAccount | Failed | Stopped
_BARE = {cls.__name__: cls for cls in (AssetDeleted, NumberTaken, Stale)}
_SAYINGS = {cls.__name__: cls for cls in (Reserve, Commit, Note, Park, AskAccount, Failed, Stopped)}


def encode(saying: Saying) -> bytes:
    """Return what a job's process says as a frame."""
    return _frame({"is": type(saying).__name__, **to_plain(saying)})


def encode_answer(answer: Answer) -> bytes:
    """Return what the supervisor answers as a frame, which is always a small one: the job stays at home."""
    facts: dict[str, object] = {}
    if isinstance(answer, Reserved):
        facts["number"] = answer.number
    elif isinstance(answer, Committed):
        facts["again"] = answer.again
    elif isinstance(answer, Moved):
        facts["op"] = to_plain(answer.op)
    return _frame({"is": type(answer).__name__, **facts})


def encode_value(value: object) -> bytes:
    """Return what is known of an account as a frame."""
    return _frame({"is": "value", "value": to_plain(value)})


def encode_error(error: MusProjError) -> bytes:
    """Return as a frame that the store could not be asked."""
    text = error.message[:MESSAGE_LIMIT]
    return _frame({"is": "error", "message": text, "away": isinstance(error, UnavailableError)})


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


def receive(line: socket.socket, inbox: Inbox, reads: int = _READS) -> list[Message] | None:
    """Return what has arrived without waiting for more, or None where the peer has closed its end.

    After so many `reads` it returns what it has: a peer that never stops talking shall not keep the listener.

    Raises:
        CorruptRecordError: as `Inbox.feed`.
    """
    messages: list[Message] = []
    for _ in range(reads):
        try:
            received = line.recv(_READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return messages
        except OSError:
            received = b""
        if not received:
            return messages or None
        messages += inbox.feed(received)
    return messages


@attrs.define(eq=False)
class ParentLine:
    """A job's process's end: its records and its ledger, answered by the supervisor."""

    _line: socket.socket
    _job: Job
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

    def note(self, job_id: JobId, token: str, op: RemoteOp) -> NoteAnswer:  # noqa: ARG002 - as above
        """Tell of the operation."""
        answer: NoteAnswer = self._ask(Note(op))
        return answer

    def park(self, job_id: JobId, token: str, op: RemoteOp, *, until: datetime, stage: str) -> ParkAnswer:  # noqa: ARG002 - as above
        """Ask to wait."""
        answer: ParkAnswer = self._ask(Park(op, until, stage))
        return answer

    def ask_account(self, method: str, **arguments: object) -> Any:
        """Return what the supervisor knows of the account."""
        return self._ask(AskAccount(method, arguments))

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
                return self._read(message)

    def _read(self, message: Message) -> Any:
        match message["is"]:
            case "value":
                return message["value"]
            case "Noted":
                return Noted(self._job)
            case "Moved":
                return Moved(from_plain(RemoteOp, message["op"]))
            case "Requeued":
                return Requeued(self._job)
            case "Ended":
                return Ended(self._job)
            case "error":
                raise (BackendUnavailableError if message["away"] else MusProjError)(message["message"])
            case "Reserved":
                return Reserved(message["number"])
            case "Committed":
                return Committed(self._job, message["again"])
            case "CancelledFirst":
                return CancelledFirst(self._job)
            case name:
                return _BARE[name]()


@attrs.frozen(eq=False)
class LineAccounts(RemoteAccounts):
    """What a run may ask of accounts: only its own service's, which the supervisor sees to."""

    _line: ParentLine

    def lead(self, account: str, who: str, life: timedelta) -> bool:
        """Never: a run polls nothing."""
        raise NotImplementedError

    def take(self, account: str, *, per_minute: float, burst: int) -> float:
        """Ask for the right to one call."""
        return float(self._line.ask_account("take", account=account, per_minute=per_minute, burst=burst))

    def hold(self, account: str, seconds: float) -> None:
        """Tell that the service wants to be left alone."""
        self._line.ask_account("hold", account=account, seconds=seconds)

    def pause(self, account: str, fault: RemoteFault, life: timedelta) -> None:
        """Tell that the account cannot be used."""
        self._line.ask_account("pause", account=account, fault=fault, life=life)

    def pauses(self) -> Sequence[Pause]:
        """Ask which accounts are stopped."""
        return [from_plain(Pause, entry) for entry in self._line.ask_account("pauses")]

    def resume(self, account: str) -> None:
        """Never: somebody else mends an account."""
        raise NotImplementedError

    def running(self, service: str) -> int:
        """Ask how many operations the service works on."""
        return int(self._line.ask_account("running", service=service))

    def spend(self, account: str, day: str, token: str, amount: float, *, limit: float | None) -> float | None:
        """Tell what the operation is to cost."""
        spent = self._line.ask_account("spend", account=account, day=day, token=token, amount=amount, limit=limit)
        return None if spent is None else float(spent)


def account_arguments(asked: AskAccount) -> Mapping[str, Any]:
    """Return the arguments of what was asked as their types are.

    Raises:
        CorruptRecordError: a run does not ask that, or not so.
    """
    checks = _ASKED.get(asked.method)
    if checks is None or set(asked.arguments) != set(checks):
        raise CorruptRecordError("A job's process asked something unknown of an account.")
    if not all(check(asked.arguments[name]) for name, check in checks.items()):
        raise CorruptRecordError("A job's process asked an account for something impossible.")
    arguments: dict[str, Any] = dict(asked.arguments)
    if asked.method == "pause":
        arguments["fault"] = from_plain(RemoteFault, arguments["fault"])
        arguments["life"] = timedelta(seconds=arguments["life"])
    return arguments


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_WORD


def _is_fault(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    found = cast("Mapping[str, object]", value)
    return set(found) == {"code", "message"} and all(isinstance(part, str) for part in found.values())


def _is_number(value: object, *, most: float = 1e9) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _is_rate(value: object) -> bool:
    return _is_number(value, most=1e5) and value != 0


def _is_burst(value: object) -> bool:
    return isinstance(value, int) and _is_rate(value)


def _is_time(value: object) -> bool:
    return _is_number(value, most=_LONGEST_S)


_LONGEST_WORD = 256
_LONGEST_S = 86_400.0
"""For how long a job's process may stop an account for all."""
_ASKED: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    "take": {"account": _is_word, "per_minute": _is_rate, "burst": _is_burst},
    "hold": {"account": _is_word, "seconds": _is_time},
    "pause": {"account": _is_word, "fault": _is_fault, "life": _is_time},
    "pauses": {},
    "running": {"service": _is_word},
    "spend": {
        "account": _is_word,
        "day": _is_word,
        "token": _is_word,
        "amount": _is_number,
        "limit": lambda value: value is None or _is_number(value),
    },
}


def _frame(message: Message) -> bytes:
    body = json.dumps(message).encode()
    return _LENGTH.pack(len(body)) + body


def _parse(body: bytes) -> Message:
    try:
        message: object = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise CorruptRecordError("A message is no JSON.") from exc
    if not isinstance(message, dict):
        raise CorruptRecordError("A message is no JSON object.")
    return cast("Message", message)
