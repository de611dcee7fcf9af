"""The parameters of loudness to a target, which every processor that steers it shares."""

from typing import Literal

import attrs

from musproj.processors._runs.fields import PcmParams, choice, flag, number, whole


@attrs.frozen(kw_only=True)
class LoudnessParams(PcmParams):
    """How loud the result should be, and how its peaks are held."""

    target_lufs: float = number(-16.0, -40.0, -5.0, "LUFS", "Integrated loudness of the result.")
    true_peak_dbtp: float = number(-1.0, -9.0, 0.0, "dBTP", "No true peak above this.")
    tolerance_lu: float = number(0.1, 0.01, 1.0, "LU", "How close to the target is close enough.")
    lookahead_ms: float = number(5.0, 1.0, 20.0, "ms", "The limiter's attack and release.")
    release_db_per_second: float = number(0.0, 0.0, 1_000.0, "dB/s", "A slower release; 0 is as fast as the attack.")
    max_reduction_db: float = number(
        10.0, 0.0, 24.0, "dB", "The limiter takes off no more; the loudness target gives way instead."
    )
    max_passes: int = whole(4, 1, 6, "Rounds of gain, limiting and verification.")
    mode: Literal["limit", "peakSafe"] = choice(
        "limit", ("limit", "peakSafe"), "`peakSafe` never limits and lowers the gain instead."
    )
    dual_mono: bool = flag("Count a mono file twice, as played on two loudspeakers (+3.01 LU).")
