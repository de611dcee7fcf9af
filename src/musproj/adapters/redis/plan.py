"""What a change checks and writes, collected and then applied in one call."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from musproj.adapters.redis.connection import RedisConnection
from musproj.adapters.redis.script import APPLY

Argument = str | bytes | int | float | dict[str, int]


def in_ms(milliseconds: int) -> dict[str, int]:
    """Return an argument that stands for the server's time plus `milliseconds`."""
    return {"now": milliseconds}


@attrs.frozen
class Applied:
    """All checks held, everything is written."""

    numbers: tuple[int, ...]
    """What `next_number` gave, in order."""
    now: int
    """Milliseconds since the epoch, of the server."""


@attrs.frozen
class Refused:
    """A check did not hold; nothing is written but what was planned for that case."""

    check: object
    """The name that the check was given."""
    found: bytes
    now: int


@attrs.define(eq=False)
class Plan:
    """One change; keys are declared by being named."""

    at: int | None = None
    """The time that it goes by, ms, where the server's was asked for just before; None: as it is when it is applied."""
    _keys: list[str] = attrs.field(factory=list[str], init=False)
    _checks: list[list[Any]] = attrs.field(factory=list[Any], init=False)
    _names: list[object] = attrs.field(factory=list[object], init=False)
    _otherwise: list[list[Any]] = attrs.field(factory=list[Any], init=False)
    _writes: list[list[Any]] = attrs.field(factory=list[Any], init=False)
    _blobs: list[bytes] = attrs.field(factory=list[bytes], init=False)

    def require(self, key: str, field: str, value: str | None, *, name: object = None) -> None:
        """Check that a hash's field, or with an empty `field` a string key, has this value; None: that it has none."""
        self._check(["IS", self._index(key), field, value], name)

    def require_presence(self, key: str, *, present: bool, name: object = None) -> None:
        """Check that a key is there, or that it is not."""
        self._check(["THERE", self._index(key), int(present)], name)

    def require_score(self, key: str, member: str, score: int, *, name: object = None) -> None:
        """Check that a member of a sorted set has this score."""
        self._check(["SCORE", self._index(key), member, score], name)

    def require_room(
        self,
        key: str,
        limit: int,
        *,
        member: str,
        longest_ms: int,
        name: object = None,
        otherwise: "Callable[[Plan], None] | None" = None,
    ) -> None:
        """Check that fewer than `limit` others than `member` have a slot; else write what `otherwise` adds, alone.

        A slot whose end is further ahead than `longest_ms` was taken by a clock that jumped, and is none.
        """
        self._check(["ROOM", self._index(key), limit, member, longest_ms], name)
        if otherwise is not None:
            kept, self._writes = self._writes, self._otherwise[-1]
            otherwise(self)
            self._writes = kept

    def write(self, command: str, key: str, *arguments: Argument) -> None:
        """Add a command whose first argument is its only key."""
        self._writes.append(self._command(command, key, arguments))

    def next_number(self, asset: str, job: str, above: int) -> None:
        """Give the job at key `job` the asset's next version number."""
        self._writes.append(["NEXT", self._index(asset), above, self._index(job)])

    def raise_to(self, key: str, number: int) -> None:
        """Set a string key to `number` unless it is higher already."""
        self._writes.append(["MAX", self._index(key), str(number)])

    def move_head(self, asset: str, number: int) -> None:
        """Move an asset's head to `number`, forward only and not where it is pinned."""
        self._writes.append(["HEAD", self._index(asset), str(number)])

    def attach(
        self, attachments: str, field: str, record: str, *, object_key: str, garbage: str, prefix: str, due: int
    ) -> None:
        """Set a field; where it named another object before, put `prefix` into the sorted set `garbage` for `due`."""
        places = [self._index(garbage), prefix, str(due)]
        self._writes.append(["ATTACH", self._index(attachments), field, record, object_key, *places])

    def hand_on(self, *, slots: str, member: str, waiting: str, queue: str, delivered: str) -> None:
        """Give up `member`'s slot, if it has one, and deliver the first of those that wait for it."""
        indexes = [self._index(queue), self._index(delivered), self._index(slots)]
        self._writes.append(["HANDON", self._index(waiting), *indexes, member])

    def pass_on(self, *, waiting: str, queue: str, delivered: str) -> None:
        """Deliver the first of those that wait for a slot: the job that was to have it does not take it."""
        self._writes.append(["PASS", self._index(waiting), self._index(queue), self._index(delivered)])

    def deliver_urgent(self, queue: str, last: str, delivery: str) -> None:
        """Put a delivery behind the last one that went before the others, which the string key `last` names."""
        self._writes.append(["URGENT", self._index(queue), self._index(last), delivery])

    def unpark(self, parked: str, taken: str, member: str, delivery: str) -> None:
        """Move a delivery from a sorted set to the end of a list; the number is 1, or 0 where it was gone."""
        self._writes.append(["UNPARK", self._index(parked), self._index(taken), member, delivery])

    def acknowledge(self, taken: str, entry: str, delivery: str) -> None:
        """Take a delivery out of the list of taken ones, and drop its entry if it was there."""
        self._writes.append(["ACK", self._index(taken), self._index(entry), delivery])

    def set_later(self, key: str, text: str, milliseconds: int) -> None:
        """Set a string key for so long unless it holds a text that sorts behind `text`."""
        self._writes.append(["LATER", self._index(key), text, str(milliseconds)])

    def apply(self, connection: RedisConnection, *, now: int | None = None, wait_ms: int = 0) -> Applied | Refused:
        """Check and write, by the server's time or by `now` (ms).

        Raises:
            BackendUnavailableError: no answer; it may have been written.
        """
        plan: dict[str, Any] = {"checks": self._checks, "writes": self._writes}
        if any(self._otherwise):
            plan["otherwise"] = self._otherwise
        if (now := self.at if now is None else now) is not None:
            plan["now"] = now
        body = json.dumps(plan, ensure_ascii=False, separators=(",", ":"))
        reply = connection.evaluate(APPLY, self._keys, [body, *self._blobs], wait_ms=wait_ms)
        if reply[0] == 1:
            return Applied(tuple(reply[1:-1]), int(reply[-1]))
        return Refused(self._names[reply[1]], reply[2], int(reply[3]))

    def _check(self, check: list[Any], name: object) -> None:
        self._checks.append(check)
        self._names.append(name)
        self._otherwise.append([])

    def _command(self, command: str, key: str, arguments: Sequence[Argument]) -> list[Any]:
        return [command, self._index(key), *map(self._argument, arguments)]

    def _argument(self, argument: Argument) -> str | dict[str, int]:
        if isinstance(argument, bytes):
            self._blobs.append(argument)
            return {"raw": 1 + len(self._blobs)}
        return argument if isinstance(argument, dict) else str(argument)

    def _index(self, key: str) -> int:
        """Return the key's place in KEYS, counted from 1 as Lua does."""
        if key not in self._keys:
            self._keys.append(key)
        return self._keys.index(key) + 1
