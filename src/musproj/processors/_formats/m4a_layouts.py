"""Which loudspeakers AAC and ALAC know; standard library only.

FFmpeg's encoders (libavcodec `aacenc.c`, `alac_data.c`) and its names for layouts; its order of channels is WAVE's.
"""

from collections.abc import Mapping

_FRONT = ("FL", "FR", "FC")
_BACK = ("BL", "BR")
_BOTH: Mapping[tuple[str, ...], str] = {
    ("FC",): "mono",
    ("FL", "FR"): "stereo",
    _FRONT: "3.0",
    (*_FRONT, "BC"): "4.0",
    (*_FRONT, *_BACK): "5.0",
    (*_FRONT, "LFE", *_BACK): "5.1",
}
_LAYOUTS: Mapping[str, Mapping[tuple[str, ...], str]] = {
    "aac": {
        **_BOTH,
        ("FL", "FR", *_BACK): "quad",
        (*_FRONT, "LFE", "BC", "SL", "SR"): "6.1",
        (*_FRONT, "LFE", *_BACK, "SL", "SR"): "7.1",
    },
    "alac": {
        **_BOTH,
        (*_FRONT, "LFE", *_BACK, "BC"): "6.1(back)",
        (*_FRONT, "LFE", *_BACK, "FLC", "FRC"): "7.1(wide)",
    },
}


def layout_of(codec: str, channels: int, speakers: tuple[str, ...] | None) -> str | None:
    """Return FFmpeg's name for the channels' places, or None where `codec` cannot say them."""
    if channels == 1:
        return "mono"
    if channels == 2:
        return "stereo"
    names = speakers or ()
    if "BL" not in names and "BC" not in names:  # five and six channels: at the side or behind, it is the same sound
        names = tuple({"SL": "BL", "SR": "BR"}.get(name, name) for name in names)
    return _LAYOUTS[codec].get(names)
