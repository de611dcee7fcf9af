"""FLAC and what else libsndfile writes.

Blocks stay small: libsndfile's Vorbis encoder overruns its stack where minutes come in one call.
"""

from pathlib import Path

import numpy as np

from musproj.errors import EncodeUnsupportedError, MissingExtraError, OutputInvalidError, UnsupportedFormatError
from musproj.processors._decoder import Block
from musproj.processors._quantize import Quantizer, check_finite

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


class SoundFileEncoder:
    """Writes what libsndfile can."""

    def __init__(
        self, path: Path, *, subtype: str | None, sample_rate: int, channels: int, dither_seed: int | None
    ) -> None:
        """Create `path`.

        Raises:
            UnsupportedFormatError: no such container or subtype.
            EncodeUnsupportedError: the codec cannot take this rate or channel count.
            MissingExtraError: soundfile is not installed.
        """
        try:
            import soundfile
        except ModuleNotFoundError as exc:
            raise MissingExtraError("soundfile", "audio") from exc
        if path.suffix.lower() not in _FORMATS:
            raise UnsupportedFormatError(f"Nothing here writes {path.suffix or 'files without an extension'}")
        container, usual = _FORMATS[path.suffix.lower()]
        subtype = subtype or usual
        if not soundfile.check_format(container, subtype):
            raise UnsupportedFormatError(f"{container} has no subtype {subtype!r}", format=container, subtype=subtype)
        bits = _BITS.get(subtype)
        self._bits = bits
        self._quantizer = Quantizer(bits, dither_seed) if bits else None
        self.frames = 0
        self._path = path
        self._library = soundfile
        try:
            self._file = soundfile.SoundFile(str(path), "w", sample_rate, channels, subtype, format=container)
        except soundfile.LibsndfileError as exc:
            path.unlink(missing_ok=True)
            raise EncodeUnsupportedError(
                f"{container}/{subtype} takes no {channels} channels at {sample_rate} Hz",
                channels=channels,
                sampleRate=sample_rate,
            ) from exc

    @property
    def clipped_samples(self) -> int:
        """Samples that did not fit the integers."""
        return self._quantizer.clipped if self._quantizer else 0

    def write(self, block: Block) -> None:
        """Append `block`."""
        if self._quantizer and self._bits:
            block = self._quantizer(block) << (32 - self._bits)
        elif block.dtype.kind == "i":
            block = (block / -float(np.iinfo(block.dtype).min)).astype(np.float32)
        else:
            check_finite(block)
        try:
            for at in range(0, len(block), _STEP):
                self._file.write(block[at : at + _STEP])
        except self._library.LibsndfileError as exc:
            raise OutputInvalidError(f"{self._path.name} could not be written: {exc}") from exc
        self.frames += len(block)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def abort(self) -> None:
        """Remove the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)
