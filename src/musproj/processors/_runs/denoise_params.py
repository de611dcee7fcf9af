"""The parameters of `denoise`, which its declaration and its run share."""

from typing import Literal

import attrs

from musproj.processors._runs.fields import PcmParams, choice, number


@attrs.frozen(kw_only=True)
class DenoiseParams(PcmParams):
    """How much to lower, and how."""

    reduction_db: float = number(18.0, 0.0, 40.0, "dB", "Lower noise by up to so much; 0 changes nothing.")
    sensitivity: float = number(1.0, 0.5, 2.0, "", "Above 1 takes more for noise, below 1 less.")
    method: Literal["gate", "wiener"] = choice(
        "gate", ("gate", "wiener"), "`wiener` is slower and leaves fewer single tones behind."
    )
