"""The order of channels in Ogg."""

from collections.abc import Mapping

VORBIS_TO_WAVE: Mapping[int, tuple[int, ...]] = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 5, 3, 4),
    7: (0, 2, 1, 6, 5, 3, 4),
    8: (0, 2, 1, 7, 5, 6, 3, 4),
}
"""Where each channel of WAVEFORMATEXTENSIBLE's order stands (Vorbis I §4.3.9, which RFC 7845 §5.1.1.2 takes over)."""
