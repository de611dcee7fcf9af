"""The parameters of `loop`, which its declaration and its run share."""

import attrs

from musproj.errors import InvalidParamsError, Violation
from musproj.processors._runs.fields import PcmParams, number, number_or_none, whole, whole_or_none

_MAX_SECONDS = 86_400.0


@attrs.frozen(kw_only=True)
class LoopParams(PcmParams):
    """Which loop to look for, and how to close it."""

    min_seconds: float = number(2.0, 0.25, 60.0, "s", "Shortest loop wanted.")
    max_seconds: float = number(32.0, 0.25, 120.0, "s", "Longest loop wanted.")
    beats: int | None = whole_or_none(1, 128, "beats", "Length wanted; whatever fits best where left out.")
    bpm: float | None = number_or_none(30.0, 300.0, "bpm", "The tempo, where you know it better.")
    crossfade_ms: float = number(10.0, 0.0, 200.0, "ms", "Over so much the end runs into the start.")
    start: float = number(0.0, 0.0, _MAX_SECONDS, "s", "Look from here.")
    end: float | None = number_or_none(0.0, _MAX_SECONDS, "s", "Look up to here; the end where left out.")
    repeat: int = whole(1, 1, 64, "Turns to write.")

    def __attrs_post_init__(self) -> None:
        """Refuse ranges that hold nothing.

        Raises:
            InvalidParamsError: a range ends before it begins.
        """
        if self.max_seconds < self.min_seconds:
            raise _invalid("maxSeconds", "must not be below minSeconds")
        if self.end is not None and self.end - self.start < self.min_seconds:
            raise _invalid("end", "must be at least minSeconds behind start")


def _invalid(name: str, detail: str) -> InvalidParamsError:
    return InvalidParamsError(violations=(Violation(f"/params/{name}", "invalid", detail),))
