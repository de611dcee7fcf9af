"""Faults: what goes wrong, where, and how often."""

import re
from collections.abc import Mapping
from typing import Any, Self

import attrs

from musproj.testing.fakes.exchange import as_list, as_object

REQUEST = frozenset(
    {
        "status", "reset", "reset_mid_upload", "process_then_reset", "slow", "drip", "truncate", "truncate_silent",
        "html", "garbage", "early_response",
    }
)  # fmt: skip
"""Faults of any exchange; looked for before the route and the key are."""
AUDIO = frozenset({"bad_audio", "flip", "gzip_bomb"})
"""Faults of a result's bytes; looked for when there are any."""
REDIRECT = frozenset({"evil_redirect"})
"""A fault of a result, or of the redirect to one."""
SIZES = frozenset({"wrong_size"})
"""A fault of an answer that tells the size of a result."""
WEBHOOK = frozenset({"no_webhook", "duplicate_webhook", "late_webhook"})
"""Faults of the next webhook, whatever its path."""
_OWN = ("kind", "path", "call", "times")
KINDS = REQUEST | AUDIO | REDIRECT | SIZES | WEBHOOK


def _known(_instance: object, _attribute: object, kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"No fault {kind!r}; there are: {', '.join(sorted(KINDS))}.")


@attrs.define(kw_only=True)
class Fault:
    """Something that goes wrong."""

    kind: str = attrs.field(validator=_known)
    path: str = "."
    """A regular expression, searched for in "METHOD /path"."""
    call: int | None = None
    """The number of the request since the last reset, from 1; None: any."""
    times: int | None = 1
    """How often; None: for ever."""
    parameters: dict[str, Any] = attrs.field(factory=dict[str, Any])

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Return the fault that JSON describes; all other names are its parameters.

        Raises:
            ValueError: its kind is unknown.
        """
        own: dict[str, Any] = {"kind": "", **{name: data[name] for name in _OWN if name in data}}
        return cls(parameters={name: data[name] for name in data if name not in own}, **own)

    def number(self, name: str, default: float) -> float:
        """Return a parameter."""
        return float(self.parameters.get(name, default))

    def matches(self, line: str, call: int) -> bool:
        """Whether it is still to happen, and here."""
        return self.times != 0 and self.call in (None, call) and re.search(self.path, line) is not None


class Faults:
    """The faults to come; the caller holds a lock."""

    def __init__(self) -> None:
        """Begin without any."""
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Append one; those before it go first."""
        self._faults.append(fault)

    def take(self, kinds: frozenset[str], line: str, call: int) -> Fault | None:
        """Return the first one that matches, and count it down."""
        for fault in self._faults:
            if fault.kind in kinds and fault.matches(line, call):
                return self._count(fault)
        return None

    def take_webhook(self) -> Fault | None:
        """Return the first one that concerns a webhook, and count it down."""
        for fault in self._faults:
            if fault.kind in WEBHOOK and fault.times != 0:
                return self._count(fault)
        return None

    def _count(self, fault: Fault) -> Fault:
        if fault.times is not None:
            fault.times -= 1
        return fault


def sizes_in(data: Any) -> list[dict[str, Any]]:
    """Return the objects in an answer that tell a result's size."""
    if as_list(data):
        return [found for item in as_list(data) for found in sizes_in(item)]
    fields = as_object(data)
    is_result = isinstance(fields.get("size"), int) and bool(fields.get("download_url") or fields.get("url"))
    return ([fields] if is_result else []) + [found for value in fields.values() for found in sizes_in(value)]
