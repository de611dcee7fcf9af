"""The parameters of `enhance`, which its declaration and its run share."""

from typing import Literal

import attrs

from musproj.errors import InvalidParamsError, Violation
from musproj.processors._runs.auphonic_params import AMOUNTS, PEAKS, TARGETS, AuphonicParams
from musproj.processors._runs.fields import choice, disregard_all_but, number
from musproj.processors._runs.loudness_params import LoudnessParams

_LOWEST_HZ = 10.0


@attrs.frozen(kw_only=True)
class EnhanceParams(LoudnessParams):
    """How the result should sound, and be written."""

    engine: Literal["local", "auphonic"] = choice("local", ("local", "auphonic"), "Here, or by Auphonic, for credits.")
    highpass_hz: float = number(80.0, 0.0, 300.0, "Hz", "Fourth-order high-pass against rumble, from 10 Hz; 0 is off.")
    denoise_db: float = number(12.0, 0.0, 40.0, "dB", "Lower steady noise by up to so much; 0 is off.")

    def __attrs_post_init__(self) -> None:
        """Refuse a high-pass that no filter of such rates computes soundly, and what the engine cannot do.

        Raises:
            InvalidParamsError: it lies between 0 and 10 Hz, or the engine does not offer a target.
        """
        if 0 < self.highpass_hz < _LOWEST_HZ:
            detail = f"must be 0, which is off, or {_LOWEST_HZ:g} to 300 Hz"
            raise InvalidParamsError(violations=(Violation("/params/highpassHz", "invalid", detail),))
        if self.engine == "auphonic":
            _refuse_others("targetLufs", self.target_lufs, TARGETS)
            _refuse_others("truePeakDbtp", self.true_peak_dbtp, PEAKS)
            self._keep_what_auphonic_offers()

    def _keep_what_auphonic_offers(self) -> None:
        disregard_all_but(
            self,
            *("engine", "target_lufs", "true_peak_dbtp", "dual_mono", "format"),
            highpass_hz=80.0 if self.highpass_hz > 0 else 0.0,
            denoise_db=float(_nearest_amount(self.denoise_db)) if self.denoise_db > 0 else 0.0,
            bits=self.bits if self.format == "wav" else 24,
        )

    @property
    def for_auphonic(self) -> AuphonicParams:
        """The same in a production's words, as far as there are such."""
        format_: Literal["wav-24bit", "wav", "flac"] = "flac" if self.format == "flac" else "wav"
        if self.format == "wav" and self.bits == 24:
            format_ = "wav-24bit"
        return AuphonicParams(
            format=format_,
            filtering=self.highpass_hz > 0,
            target_lufs=self.target_lufs,
            max_peak_dbtp=self.true_peak_dbtp,
            dual_mono=self.dual_mono,
            denoise=self.denoise_db > 0,
            denoise_amount=_nearest_amount(self.denoise_db) if self.denoise_db > 0 else 0,
        )


def _nearest_amount(wanted_db: float) -> int:
    return min(AMOUNTS, key=lambda offered: abs(offered - wanted_db))


def _refuse_others(name: str, value: float, offered: tuple[float, ...]) -> None:
    if value not in offered:
        detail = f"by Auphonic, it is one of {', '.join(f'{one:g}' for one in offered)}"
        raise InvalidParamsError(violations=(Violation(f"/params/{name}", "invalid", detail),))
