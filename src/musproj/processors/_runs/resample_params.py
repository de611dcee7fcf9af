"""The parameters of `resample`; light."""

from typing import Literal

import attrs

from musproj.processors._runs.fields import PcmParams, choice, whole


@attrs.frozen(kw_only=True)
class ResampleParams(PcmParams):
    """Which rate, and how well."""

    sample_rate: int = whole(48_000, 4_000, 384_000, "Sample rate of the result.", unit="Hz")
    quality: Literal["MQ", "HQ", "VHQ"] = choice(
        "HQ", ("MQ", "HQ", "VHQ"), "soxr's recipe: for 16 bits, for 20, and for 24 and more."
    )
