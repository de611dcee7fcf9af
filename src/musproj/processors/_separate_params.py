"""The parameters of `separate`, which its declaration and its run share."""

from typing import Literal

import attrs

from musproj.processors._fields import InputParams, choice, number


@attrs.frozen(kw_only=True)
class SeparateParams(InputParams):
    """How to take a mix apart."""

    mode: Literal["basic"] = choice("basic", ("basic",), "`basic` is signal processing.")
    segment_seconds: float = number(20.0, 10.0, 60.0, "s", "The accompaniment repeats within so much.")
    strength: float = number(
        1.0, 0.5, 4.0, "", "Exponent of the mask: more leaves less music in the vocals, and less vocals."
    )
    format: Literal["wav", "flac"] = choice("wav", ("wav", "flac"), "Container of the results.")
    bits: Literal[16, 24] = choice(24, (16, 24), "Bits of the results' samples.")
