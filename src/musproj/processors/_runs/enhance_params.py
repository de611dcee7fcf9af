"""The parameters of `enhance`, which its declaration and its run share."""

import attrs

from musproj.processors._runs.fields import number
from musproj.processors._runs.loudness_params import LoudnessParams


@attrs.frozen(kw_only=True)
class EnhanceParams(LoudnessParams):
    """How the result should sound, and be written."""

    highpass_hz: float = number(80.0, 0.0, 300.0, "Hz", "Fourth-order high-pass against rumble; 0 is off.")
    denoise_db: float = number(12.0, 0.0, 40.0, "dB", "Lower steady noise by up to so much; 0 is off.")
