"""FLAC, Ogg (Vorbis, Opus) and MP3 through libsndfile."""

import contextlib
import io
from pathlib import Path
from typing import Any

import attrs

from musproj.errors import AudioCorruptError, MissingExtraError, UnsupportedFormatError
from musproj.processors._formats import flac
from musproj.processors._formats.decoder import Block
from musproj.processors._formats.header import Header, Note
from musproj.processors._formats.vorbis import VORBIS_TO_WAVE

_STEP = 4_096
"""Frames per call: libsndfile tells nothing of what it decoded before an error within a call."""
_UNKNOWN_FRAMES = 1 << 62  # libsndfile's SF_COUNT_MAX, and near it
_MP3_SLACK = 2 * 1_152  # an encoder's delay and padding come in frames of 1,152

_CODECS = {
    ("FLAC", "PCM_S8"): "flac",
    ("FLAC", "PCM_16"): "flac",
    ("FLAC", "PCM_24"): "flac",
    ("OGG", "VORBIS"): "vorbis",
    ("OGG", "OPUS"): "opus",
    ("MP3", "MPEG_LAYER_I"): "mp1",
    ("MP3", "MPEG_LAYER_II"): "mp2",
    ("MP3", "MPEG_LAYER_III"): "mp3",
}
_MAJOR = {"flac": "FLAC", "ogg": "OGG", "mp3": "MP3"}


class SoundFileDecoder:
    """Decodes a codec that libsndfile knows."""

    def __init__(self, path: Path, container: str, start: int = 0) -> None:
        """Open `path`, which must be of `container`: libsndfile's own guesses are not followed.

        `start` bytes of padding in front are passed over.

        Raises:
            MissingExtraError: soundfile is not installed.
            AudioCorruptError: libsndfile cannot open it.
            UnsupportedFormatError: another codec in this container.
        """
        self._library = _soundfile()
        self._path = path
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(_Shifted(path, start)) if start else str(path)
            try:
                self._file = stack.enter_context(_open_stream(self._library, source))
            except self._library.LibsndfileError as exc:
                raise AudioCorruptError(f"The {container} file cannot be decoded: {exc.error_string}") from exc
            self.header = _header(self._file, container, path)
            self._close = stack.pop_all().close
        if start:
            self.header = attrs.evolve(self.header, notes=(Note("headerInconsistent", "Padding was passed over."),))
        self.claim_slack = _MP3_SLACK if container == "mp3" else 0
        self._order = list(VORBIS_TO_WAVE.get(self.header.channels, ())) if container == "ogg" else []
        self._ended = False

    def read(self, out: Block) -> int:
        """Fill `out`; a file that was cut gives what decodes before the cut."""
        done = 0
        while done < len(out) and not self._ended:
            part = out[done : done + _STEP]
            try:
                got = len(self._file.read(out=part))
            except self._library.LibsndfileError as exc:
                self._end(exc)
                break
            done += got
            self._ended = got < len(part)
        if self._order and done:
            out[:done] = out[:done, self._order]
        return done

    def seek(self, frame: int) -> bool:
        """Go to `frame` of a FLAC; other codecs are exact only from the start."""
        if self.header.container != "flac":
            return False
        try:
            self._file.seek(min(frame, self._file.frames))
        except self._library.LibsndfileError as exc:
            self._end(exc)
        return True

    def close(self) -> None:
        """Close the file."""
        self._close()

    def _end(self, exc: Exception) -> None:
        """Accept the end of a cut file; damage in the middle is an error, for nobody may guess what was there."""
        self._ended = True
        with self._path.open("rb") as file:
            cut = self.header.container == "flac" and not flac.ends_in_whole_frame(file, self._path.stat().st_size)
        if not cut:
            raise AudioCorruptError(f"Decoding stopped in the middle of the file: {exc}") from exc


class _Shifted(io.FileIO):
    """A file without its first bytes."""

    def __init__(self, path: Path, start: int) -> None:
        super().__init__(path)
        self._start = start
        self.seek(0)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_SET:
            offset += self._start
        return super().seek(offset, whence) - self._start

    def tell(self) -> int:
        return super().tell() - self._start


def _soundfile() -> Any:
    try:
        import soundfile
    except ModuleNotFoundError as exc:
        raise MissingExtraError("soundfile", "audio") from exc
    return soundfile


def _open_stream(library: Any, source: object) -> Any:
    class Stream(library.SoundFile):  # type: ignore[misc]  # soundfile is untyped
        """A file that is only read on: python-soundfile seeks after each read of a seekable one.

        That seek makes an MP3's samples depend on the block size.
        """

        def seekable(self) -> bool:
            return False

    return Stream(source)


def _header(file: Any, container: str, path: Path) -> Header:
    codec = _CODECS.get((file.format, file.subtype))
    if codec is None or file.format != _MAJOR[container]:
        found = f"{file.format}/{file.subtype}"
        raise UnsupportedFormatError(f"{found} is not read here", codec=found)
    if container == "flac":
        with path.open("rb") as raw:
            return flac.parse(raw, _flac_start(raw.read(10)))
    frames = int(file.frames) if 0 <= file.frames < _UNKNOWN_FRAMES else None
    return Header(
        container=container,
        codec=codec,
        sample_rate=int(file.samplerate),
        channels=int(file.channels),
        is_float=False,
        frames=frames,
        claimed_frames=frames,
    )


def _flac_start(head: bytes) -> int:
    """Return where `fLaC` stands: behind an ID3v2 tag, if one was put in front (id3.org, ID3v2.4 §3.1)."""
    if not head.startswith(b"ID3"):
        return 0
    return 10 + ((head[6] & 127) << 21 | (head[7] & 127) << 14 | (head[8] & 127) << 7 | head[9] & 127)
