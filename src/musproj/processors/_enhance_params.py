"""The parameters of `enhance`, which its declaration and its run share."""

from typing import Any, Literal

import attrs
from attrs.validators import and_, ge, in_, instance_of, le


def _number(default: float, least: float, most: float, unit: str, description: str) -> float:
    """Return an attrs field of a number within bounds."""
    metadata = {"unit": unit, "min": least, "max": most, "description": description}
    field: float = attrs.field(default=default, validator=and_(ge(least), le(most)), metadata=metadata)
    return field


def _choice(default: object, among: tuple[object, ...], description: str) -> Any:
    """Return an attrs field of one value out of a few."""
    return attrs.field(default=default, validator=in_(among), metadata={"description": description})


@attrs.frozen(kw_only=True)
class EnhanceParams:
    """How the result should sound, and be written."""

    highpass_hz: float = _number(80.0, 0.0, 300.0, "Hz", "Fourth-order high-pass against rumble; 0 is off.")
    target_lufs: float = _number(-16.0, -40.0, -5.0, "LUFS", "Integrated loudness of the result.")
    true_peak_dbtp: float = _number(-1.0, -9.0, 0.0, "dBTP", "No true peak above this.")
    tolerance_lu: float = _number(0.1, 0.01, 1.0, "LU", "How close to the target is close enough.")
    lookahead_ms: float = _number(5.0, 1.0, 20.0, "ms", "The limiter's attack and release.")
    release_db_per_second: float = _number(0.0, 0.0, 1_000.0, "dB/s", "A slower release; 0 is as fast as the attack.")
    max_reduction_db: float = _number(
        10.0, 0.0, 24.0, "dB", "The limiter takes off no more; the loudness target gives way instead."
    )
    max_passes: int = attrs.field(
        default=4,
        validator=and_(instance_of(int), ge(1), le(6)),
        metadata={"min": 1, "max": 6, "description": "Rounds of gain, limiting and verification."},
    )
    mode: Literal["limit", "peakSafe"] = _choice(
        "limit", ("limit", "peakSafe"), "`peakSafe` never limits and lowers the gain instead."
    )
    dual_mono: bool = attrs.field(
        default=False,
        validator=instance_of(bool),
        metadata={"description": "Count a mono file twice, as played on two loudspeakers (+3.01 LU)."},
    )
    format: Literal["wav", "flac"] = _choice("wav", ("wav", "flac"), "Container of the result.")
    bits: Literal[16, 24] = _choice(24, (16, 24), "Bits of the result's samples.")
    dither: Literal["none", "tpdf"] = _choice(
        "none", ("none", "tpdf"), "Noise of ±1 step, the same for the same input, before rounding."
    )
    strict: bool = attrs.field(
        default=False,
        validator=instance_of(bool),
        metadata={"description": "Refuse a file that is shorter than its header says."},
    )
    on_nonfinite: Literal["zero", "reject"] = _choice(
        "zero", ("zero", "reject"), "Replace samples that are NaN or infinite by 0, or refuse the file."
    )
