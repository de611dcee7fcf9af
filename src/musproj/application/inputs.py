"""Whether what was given fits the input ports of a processor."""

import difflib
from collections.abc import Collection, Sequence

from musproj.domain.job import SINGLE_PORT
from musproj.errors import InvalidError, Violation
from musproj.ports.processor import ProcessorSpec


def check_ports(processor: ProcessorSpec, given: Collection[str], *, single: str) -> None:
    """Check the names of what was given; `single` is the pointer by which a missing single port is told.

    Raises:
        InvalidError: a port is unknown, or a required one is missing; all of them are told.
    """
    known = [port.name for port in processor.inputs]
    violations = [
        Violation(f"/inputs/{name}", "unknown", _port_hint(name, known)) for name in given if name not in known
    ]
    violations += [
        Violation(single if port.name == SINGLE_PORT else f"/inputs/{port.name}", "required", "this input is required")
        for port in processor.inputs
        if port.required and port.name not in given
    ]
    if violations:
        raise InvalidError(violations=tuple(violations))


def _port_hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"no such input; did you mean {near[0]}?" if near else f"no such input; it has: {', '.join(known)}"
