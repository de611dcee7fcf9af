"""The parameters of `mix`, which its declaration and its run share."""

import attrs

from musproj.processors._runs.fields import PcmParams, number


@attrs.frozen(kw_only=True)
class MixParams(PcmParams):
    """How loud and how late each input is."""

    gain_db: float = number(0.0, -60.0, 24.0, "dB", "Gain of `input`.")
    other_gain_db: float = number(0.0, -60.0, 24.0, "dB", "Gain of `other`.")
    offset_seconds: float = number(
        0.0, -3_600.0, 3_600.0, "s", "`other` begins so much later than `input`; negative: earlier."
    )
