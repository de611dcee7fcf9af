"""The parameters of `normalize`."""

import attrs

from musproj.processors._runs.fields import number
from musproj.processors._runs.loudness_params import LoudnessParams


@attrs.frozen(kw_only=True)
class NormalizeParams(LoudnessParams):
    """How loud the result should be, and how it is written."""

    tolerance_lu: float = number(0.05, 0.01, 1.0, "LU", "How close to the target is close enough.")
