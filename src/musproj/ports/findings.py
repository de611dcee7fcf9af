"""What an examination of an installation finds, whoever looks."""

from typing import Literal

import attrs

Status = Literal["ok", "warning", "problem"]


@attrs.frozen
class Finding:
    """What one check found."""

    name: str
    status: Status
    detail: str
    fix: str | None = None
    """How to mend it."""
