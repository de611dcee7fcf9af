"""The parameters of `enhance`, which its declaration and its run share."""

import attrs

from musproj.errors import InvalidParamsError, Violation
from musproj.processors._runs.fields import number
from musproj.processors._runs.loudness_params import LoudnessParams

_LOWEST_HZ = 10.0


@attrs.frozen(kw_only=True)
class EnhanceParams(LoudnessParams):
    """How the result should sound, and be written."""

    highpass_hz: float = number(80.0, 0.0, 300.0, "Hz", "Fourth-order high-pass against rumble, from 10 Hz; 0 is off.")
    denoise_db: float = number(12.0, 0.0, 40.0, "dB", "Lower steady noise by up to so much; 0 is off.")

    def __attrs_post_init__(self) -> None:
        """Refuse a high-pass that no filter of such rates computes soundly.

        Raises:
            InvalidParamsError: it lies between 0 and 10 Hz.
        """
        if 0 < self.highpass_hz < _LOWEST_HZ:
            detail = f"must be 0, which is off, or {_LOWEST_HZ:g} to 300 Hz"
            raise InvalidParamsError(violations=(Violation("/params/highpassHz", "invalid", detail),))
