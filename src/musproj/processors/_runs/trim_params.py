"""The parameters of `trim`; light."""

from typing import Literal

import attrs

from musproj.errors import InvalidParamsError, Violation
from musproj.processors._runs.fields import InputParams, choice, number, number_or_none, whole_or_none

_MAX_SECONDS = 86_400.0
_MAX_SAMPLES = 384_000 * 86_400


@attrs.frozen(kw_only=True)
class TrimParams(InputParams):
    """What to keep."""

    start: float = number(0.0, 0.0, _MAX_SECONDS, "s", "Where the result begins.")
    end: float | None = number_or_none(0.0, _MAX_SECONDS, "s", "Where it ends; the end of the input where left out.")
    start_sample: int | None = whole_or_none(0, _MAX_SAMPLES, "samples", "Instead of `start`: its first sample.")
    end_sample: int | None = whole_or_none(0, _MAX_SAMPLES, "samples", "Instead of `end`: the sample behind its last.")
    silence: Literal["off", "leading", "trailing", "both"] = choice(
        "off", ("off", "leading", "trailing", "both"), "Cut silence off these ends of what is left."
    )
    threshold_dbfs: float = number(-60.0, -96.0, -20.0, "dBFS", "RMS of 10 ms in the loudest channel, below: silence.")
    min_silence_ms: float = number(200.0, 10.0, 10_000.0, "ms", "Shorter silence stays.")
    pad_ms: float = number(50.0, 0.0, 2_000.0, "ms", "Of the silence, so much stays around the sound.")
    fade_in_ms: float = number(5.0, 0.0, 10_000.0, "ms", "Raised cosine; 0 is none.")
    fade_out_ms: float = number(5.0, 0.0, 10_000.0, "ms", "Raised cosine; 0 is none.")
    format: Literal["wav", "flac"] = choice("wav", ("wav", "flac"), "Container of the result.")
    bits: Literal["source", 16, 24] = choice("source", ("source", 16, 24), "As the input's samples, else 24.")
    dither: Literal["none", "tpdf"] = choice(
        "none", ("none", "tpdf"), "Noise of ±1 step, the same for the same input, where bits are taken away."
    )

    def __attrs_post_init__(self) -> None:
        """Refuse what is empty whatever the rate.

        Raises:
            InvalidParamsError: it ends before it begins.
        """
        by_time = self.start_sample is None and self.end_sample is None
        if by_time and self.end is not None and self.end <= self.start:
            raise empty("end", "must be behind start")
        if self.start_sample is not None and self.end_sample is not None and self.end_sample <= self.start_sample:
            raise empty("endSample", "must be behind startSample")

    def window(self, sample_rate: int) -> tuple[int, int | None]:
        """Return the first sample and the one behind the last; None is the end of the input.

        Raises:
            InvalidParamsError: nothing is between them.
        """
        start = self.start_sample if self.start_sample is not None else round(self.start * sample_rate)
        stop = self.end_sample
        if stop is None and self.end is not None:
            stop = round(self.end * sample_rate)
        if stop is not None and stop <= start:
            raise empty("end", f"sample {stop} is not behind sample {start}, where it begins")
        return start, stop


def empty(name: str, detail: str) -> InvalidParamsError:
    """Return the error of a choice that leaves nothing."""
    return InvalidParamsError(violations=(Violation(f"/params/{name}", "invalid", detail),))
