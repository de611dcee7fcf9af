"""The rates and channels that a codec takes, and how to get there; numpy for the downmix only.

Rates: ISO 11172-3, 13818-3 and MPEG-2.5 (MP3), ISO 14496-3 (AAC), RFC 6716 (Opus), RFC 9639 §7 (FLAC's streamable
subset); libvorbis has no mode above 200 kHz.
"""

import attrs
import numpy as np

from musproj.processors._formats.decoder import Floats
from musproj.processors._formats.m4a_layouts import layout_of

_MP3 = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_AAC = (7_350, 8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)
_OPUS = (8_000, 12_000, 16_000, 24_000, 48_000)
_HIGH = (88_200, 96_000, 176_400, 192_000)
_VORBIS_MOST = 200_000
_FLAC_ANY_BELOW, _FLAC_STEP = 65_536, 10
_CD_FAMILY = 11_025

_HALF_POWER = np.sqrt(0.5)
_LEFT = {"FL": 1.0, "FC": _HALF_POWER, "BL": _HALF_POWER, "SL": _HALF_POWER, "BC": 0.5, "FLC": _HALF_POWER}
_MIRROR = {"FL": "FR", "BL": "BR", "SL": "SR", "FLC": "FRC", "FC": "FC", "BC": "BC"}
_RIGHT = {_MIRROR[name]: gain for name, gain in _LEFT.items()}


@attrs.frozen
class Fit:
    """What a codec gets."""

    sample_rate: int
    downmix: bool
    """To two channels."""


def fit(codec: str, sample_rate: int, channels: int, speakers: tuple[str, ...] | None) -> Fit:
    """Return the nearest to the source that `codec` takes."""
    if codec == "mp3":
        too_many = channels > 2
    elif codec in ("aac", "alac"):
        too_many = layout_of(codec, channels, speakers) is None
    else:
        too_many = False
    return Fit(_fitting_rate(codec, sample_rate), too_many)


def downmix(speakers: tuple[str, ...]) -> Floats:
    """Return float32 (channels, 2): ITU-R BS.775-4 table 2, lowered so that nothing can clip; no LFE."""
    matrix = np.array([[_LEFT.get(name, 0.0), _RIGHT.get(name, 0.0)] for name in speakers])
    scaled: Floats = (matrix / max(1.0, float(matrix.sum(axis=0).max()))).astype(np.float32)
    return scaled


def _fitting_rate(codec: str, rate: int) -> int:
    if codec == "opus":
        return rate if rate in _OPUS else 48_000
    if codec == "vorbis":
        return rate if rate <= _VORBIS_MOST else _next(_HIGH, rate)
    if codec == "flac":
        is_subset = rate < _FLAC_ANY_BELOW or rate % _FLAC_STEP == 0
        return rate if is_subset else _next((*_HIGH, 384_000), rate)
    return _next({"mp3": _MP3, "aac": _AAC}[codec], rate) if codec in ("mp3", "aac") else rate


def _next(rates: tuple[int, ...], rate: int) -> int:
    """Return the next rate that loses nothing, or above all the highest of the same family: 88.2 kHz gives 44.1."""
    above = [allowed for allowed in rates if allowed >= rate]
    if above:
        return above[0]
    family = [allowed for allowed in rates if (allowed % _CD_FAMILY == 0) == (rate % _CD_FAMILY == 0)]
    return family[-1]
