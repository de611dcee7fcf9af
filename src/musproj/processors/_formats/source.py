"""From an untrusted file to the decoder that reads it: sniffed, allow-listed and within the limits."""

from pathlib import Path
from typing import BinaryIO

from musproj.domain.media import SNIFF_BYTES, sniff
from musproj.errors import NotAudioError, UnsupportedFormatError
from musproj.processors._formats import aiff, caf, riff
from musproj.processors._formats.header import Header
from musproj.processors.limits import Limits

PARSED = {"wav": riff.parse, "aiff": aiff.parse, "caf": caf.parse}
"""Containers whose headers are read here."""
THROUGH_SOUNDFILE = frozenset(("flac", "ogg", "mp3"))
THROUGH_AV = frozenset(("m4a", "aac"))


def container_of_file(path: Path) -> str:
    """Return the container that the first bytes of `path` show; no name and no media type is believed.

    Raises:
        NotAudioError: unknown magic, or nothing at all.
        UnsupportedFormatError: audio, but outside the allow-list.
    """
    container = sniff(_head(path))
    if container is None:
        raise NotAudioError("The file is no audio that is known here.")
    if container not in {*PARSED, *THROUGH_SOUNDFILE, *THROUGH_AV}:
        raise UnsupportedFormatError(f"{container} files are not read here", container=container)
    return container


def parse_header(path: Path, container: str) -> Header | None:
    """Return what the header says where its container is read here, or None.

    Raises:
        ProcessingError: as the parsers.
    """
    parse = PARSED.get(container)
    if parse is None:
        return None
    with path.open("rb") as file:
        return parse(file, file_size(file))


def check_limits(header: Header, limits: Limits) -> None:
    """Refuse a header that is over the limits; a claim beyond the file has been clamped before.

    Raises:
        LimitExceededError: over a limit.
    """
    limits.check(sample_rate=header.sample_rate, channels=header.channels, frames=header.frames)


def file_size(file: BinaryIO) -> int:
    """Return the bytes of an open file, leaving it at its start."""
    size = file.seek(0, 2)
    file.seek(0)
    return size


def padding(path: Path) -> int:
    """Return how many zero bytes stand in front."""
    head = _head(path)
    return len(head) - len(head.lstrip(b"\0"))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(SNIFF_BYTES)
