"""The parameters of `waveform`, which its declaration and its run share."""

from typing import Literal

import attrs

from musproj.processors._runs.fields import InputParams, choice, flag, whole


@attrs.frozen(kw_only=True)
class WaveformParams(InputParams):
    """How fine the peaks are, and how they are written."""

    samples_per_pixel: int = whole(256, 2, 1_000_000, "Frames that one pair of minimum and maximum stands for.")
    bits: Literal[8, 16] = choice(8, (8, 16), "Bits of each value.")
    channels: Literal["split", "mix"] = choice(
        "split", ("split", "mix"), "`mix` gives the peaks of the channels' mean."
    )
    format: Literal["dat", "json"] = choice("dat", ("dat", "json"), "audiowaveform's binary format or its JSON.")
    levels: int = whole(1, 1, 12, "Zoom levels; each has half as many pairs as the one before.")
    picture: bool = flag("Draw the whole as a PNG of 1,200 by 240 pixels, too.", default=True)
