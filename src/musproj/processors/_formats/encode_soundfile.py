"""FLAC and what else libsndfile writes.

Blocks stay small: libsndfile's Vorbis encoder overruns its stack where minutes come in one call.
"""

from typing import Any

import numpy as np

from musproj.errors import EncodeUnsupportedError, MissingExtraError, OutputInvalidError, UnsupportedFormatError
from musproj.processors._formats.decoder import Block
from musproj.processors._formats.encoder import Target
from musproj.processors._formats.quantize import Quantizer, check_finite
from musproj.processors._formats.tags import Tags
from musproj.processors._formats.tags_cover import embed_cover
from musproj.processors._formats.vorbis import VORBIS_TO_WAVE

_FORMATS = {
    ".flac": ("FLAC", "PCM_24"),
    ".aiff": ("AIFF", "PCM_24"),
    ".aif": ("AIFF", "PCM_24"),
    ".caf": ("CAF", "PCM_24"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
}
_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_STEP = 65_536
_MAX_VORBIS_RATE = 200_000
"""libvorbis has no mode above; libsndfile 1.2 does not look, and dies."""
_FLAC_ANY_BELOW, _FLAC_STEP = 65_536, 10
_MAX_COMPRESSION = 0.9999
"""libsndfile refuses 1 for MP3."""
_OPUS_KBPS = (6.0, 256.0)
"""Per channel, at compression levels 1 and 0 (libsndfile, `ogg_opus.c`)."""
_OPUS_QUALITY_KBPS, _OPUS_LEAST_KBPS = 128.0, 8.0
_MPEG1_RATE, _MPEG2_RATE = 32_000, 16_000
_STRINGS = {"track": "tracknumber"}
"""soundfile's names where they are not ours."""


class SoundFileEncoder:
    """Writes what libsndfile can."""

    def __init__(self, target: Target) -> None:
        """Create the file.

        Raises:
            UnsupportedFormatError: no such container or subtype.
            EncodeUnsupportedError: the codec cannot take this rate or channel count.
            MissingExtraError: soundfile is not installed.
        """
        try:
            import soundfile
        except ModuleNotFoundError as exc:
            raise MissingExtraError("soundfile", "audio") from exc
        self._library = soundfile
        container, subtype = self._format(target)
        bits = _BITS.get(subtype)
        self._bits = bits
        self._quantizer = Quantizer(bits, target.dither_seed) if bits else None
        self._order = _vorbis_order(target.channels) if container == "OGG" else None
        self._tags = target.tags
        # libvorbis makes up what was before the first block from all of that block: it must always be as long.
        self._held: Block | None = np.empty((0, target.channels), np.float32) if subtype == "VORBIS" else None
        self.frames = 0
        self._path = target.path
        self._file = self._open(target, container, subtype)
        self._put_strings(target)

    @property
    def clipped_samples(self) -> int:
        """Samples that did not fit the integers."""
        return self._quantizer.clipped if self._quantizer else 0

    def write(self, block: Block) -> None:
        """Append `block`."""
        if block.dtype.kind == "i" and not self._bits:
            block = (block / -float(np.iinfo(block.dtype).min)).astype(np.float32)
        elif self._quantizer and self._bits and block.dtype.kind == "f":
            block = self._quantizer(block) << (32 - self._bits)
        else:  # libsndfile moves integers from the top of one width to the top of the other
            check_finite(block)
        if self._order is not None:
            block = block[:, self._order]
        self.frames += len(block)
        if self._held is None:
            self._put(block)
            return
        self._held = np.concatenate([self._held, block])
        whole = len(self._held) // _STEP * _STEP
        self._put(self._held[:whole])
        self._held = self._held[whole:]

    def close(self) -> None:
        """Finish the file."""
        if self._held is not None:
            self._put(self._held)
        self._file.close()
        if self._tags.cover is not None:
            embed_cover(self._path, self._tags)

    def abort(self) -> None:
        """Remove the file."""
        self._tags = Tags()
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _put(self, block: Block) -> None:
        try:
            for at in range(0, len(block), _STEP):
                self._file.write(np.ascontiguousarray(block[at : at + _STEP]))
        except self._library.LibsndfileError as exc:
            raise OutputInvalidError(f"{self._path.name} could not be written: {exc}") from exc

    def _format(self, target: Target) -> tuple[str, str]:
        if target.suffix not in _FORMATS:
            raise UnsupportedFormatError(f"Nothing here writes {target.suffix or 'files without an extension'}")
        container, usual = _FORMATS[target.suffix]
        subtype = target.subtype or usual
        if not self._library.check_format(container, subtype):
            raise UnsupportedFormatError(f"{container} has no subtype {subtype!r}", format=container, subtype=subtype)
        return container, subtype

    def _open(self, target: Target, container: str, subtype: str) -> Any:
        rate, channels = target.sample_rate, target.channels
        refused = EncodeUnsupportedError(
            f"{container}/{subtype} takes no {channels} channels at {rate} Hz", channels=channels, sampleRate=rate
        )
        if (subtype == "VORBIS" and rate > _MAX_VORBIS_RATE) or (container == "FLAC" and not _is_streamable(rate)):
            raise refused
        settings = _settings(target, subtype)
        try:
            return self._library.SoundFile(str(target.path), "w", rate, channels, subtype, format=container, **settings)
        except self._library.LibsndfileError as exc:
            target.path.unlink(missing_ok=True)
            raise refused from exc

    def _put_strings(self, target: Target) -> None:
        if target.suffix == ".mp3" and target.tags.cover is not None:
            return  # one tag for everything then
        for name, text in target.tags.fields.items():
            setattr(self._file, _STRINGS.get(name, name), text)


def _is_streamable(sample_rate: int) -> bool:
    """Tell whether a FLAC frame can hold the rate, which libsndfile asks of all (RFC 9639 §7, §9.1.2)."""
    return sample_rate < _FLAC_ANY_BELOW or sample_rate % _FLAC_STEP == 0


def _settings(target: Target, subtype: str) -> dict[str, Any]:
    """Return libsndfile's settings for the quality or bit rate that is wanted."""
    kbps = target.bitrate_kbps
    if subtype == "VORBIS":
        return {"compression_level": 1 - target.quality}
    if subtype == "OPUS":
        least, most = _OPUS_KBPS
        each = kbps / target.channels if kbps else max(_OPUS_LEAST_KBPS, _OPUS_QUALITY_KBPS * target.quality)
        return {"compression_level": (most - min(max(each, least), most)) / (most - least)}
    if subtype == "MPEG_LAYER_III" and kbps:
        least, most = _mp3_kbps(target.sample_rate)
        level = (most - min(max(kbps, least), most)) / (most - least)
        return {"compression_level": min(level, _MAX_COMPRESSION), "bitrate_mode": "CONSTANT"}
    if subtype == "MPEG_LAYER_III":
        return {"compression_level": min(1 - target.quality, _MAX_COMPRESSION), "bitrate_mode": "VARIABLE"}
    return {}


def _mp3_kbps(sample_rate: int) -> tuple[int, int]:
    """Return the bit rates at libsndfile's compression levels 1 and 0 (ISO 11172-3, ISO 13818-3, MPEG-2.5)."""
    if sample_rate >= _MPEG1_RATE:
        return 32, 320
    return (8, 160) if sample_rate >= _MPEG2_RATE else (8, 64)


def _vorbis_order(channels: int) -> list[int] | None:
    """Return which channel of WAVE's order stands at each place of Vorbis' order."""
    order = VORBIS_TO_WAVE.get(channels)
    return None if order is None else [order.index(place) for place in range(channels)]
