"""Reads tags: the texts through soundfile, pictures and M4A through PyAV where it is installed.

PyAV is loaded only where the first bytes look as if there were a picture: it costs 0.1 s and 20 MiB.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from musproj.domain.media import SNIFF_BYTES
from musproj.errors import ProcessingError
from musproj.processors._formats.source import THROUGH_AV, container_of_file
from musproj.processors._formats.tags import COVER, FIELDS, Cover, Tags

_MAX_TEXT = 4_000
_MAX_COVER_BYTES = 8_000_000
_DEMUXERS = {"flac": "flac", "mp3": "mp3", "ogg": "ogg", "m4a": "mov"}
_COVER_MARKS = (b"APIC", b"image/", b"METADATA_BLOCK_PICTURE")
_OTHER_NAMES = {"author": "artist", "year": "date", "description": "comment", "tracknumber": "track"}
_PICTURES: Mapping[str, Any] = {"mjpeg": "image/jpeg", "png": "image/png"}
_MAGIC = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG\r\n\x1a\n"}


def read_tags(path: Path) -> Tags:
    """Return the tags of an audio file; what is damaged, or too long to be one, is not there."""
    try:
        container = container_of_file(path)
    except ProcessingError:
        return Tags()
    fields = {} if container in THROUGH_AV else _texts_by_soundfile(path)
    if container not in _DEMUXERS or (container != "m4a" and not _may_have_cover(path)):
        return Tags(fields=fields)
    library = _av()
    if library is None:
        return Tags(fields=fields, unread=(COVER,))
    try:
        more = _by_av(library, path, _DEMUXERS[container])
    except (library.error.FFmpegError, ValueError):
        return Tags(fields=fields)
    return attrs.evolve(more, fields={**more.fields, **fields})


def _may_have_cover(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(SNIFF_BYTES).replace(b"metadata_block_picture", _COVER_MARKS[-1])
    return any(mark in head for mark in _COVER_MARKS)


def _texts_by_soundfile(path: Path) -> dict[str, str]:
    import soundfile

    with contextlib.suppress(soundfile.LibsndfileError), soundfile.SoundFile(str(path)) as file:
        return _texts({name: getattr(file, name) for name in (*FIELDS[:-1], "tracknumber")})
    return {}


def _av() -> Any:
    try:
        import av
        import av.logging
    except ModuleNotFoundError:
        return None
    av.logging.set_level(av.logging.PANIC)
    return av


def _by_av(library: Any, path: Path, demuxer: str) -> Tags:
    options = {"protocol_whitelist": "file"}
    with library.open(str(path), format=demuxer, options=options, metadata_errors="ignore") as file:
        streams = [dict(stream.metadata) for stream in file.streams.audio[:1]]
        found = {name.lower(): text for source in (*streams, file.metadata) for name, text in source.items()}
        attached = library.stream.Disposition.attached_pic
        pictures = [stream for stream in file.streams.video if stream.disposition & attached]
        covers = [cover for stream in pictures if (cover := _cover(file, stream))]
        unread = (COVER,) if pictures and not covers else ()
        return Tags(fields=_texts(found), cover=covers[0] if covers else None, unread=unread)


def _cover(file: Any, stream: Any) -> Cover | None:
    """Return an attached picture; None where it is of another kind, too large, or FFmpeg cannot tell its size."""
    context = stream.codec_context
    media_type = _PICTURES.get(context.name) if context and context.width else None
    data = bytes(next(iter(file.demux(stream)), b""))
    is_good = media_type and data.startswith(_MAGIC[media_type]) and len(data) <= _MAX_COVER_BYTES
    return Cover(data, media_type) if media_type and is_good else None


def _texts(found: Mapping[str, str]) -> dict[str, str]:
    """Return the texts under our names, without what no tag should hold."""
    named = {_OTHER_NAMES.get(name, name): text for name, text in found.items() if name in _OTHER_NAMES}
    named |= {name: text for name, text in found.items() if name in FIELDS and text}
    clean = {name: _clean(named[name]) for name in FIELDS if name in named}
    return {name: text for name, text in clean.items() if text}


def _clean(text: str) -> str:
    kept = "".join(char for char in text[:_MAX_TEXT] if char.isprintable() or char in "\n\t")
    return kept.encode("utf-8", "ignore").decode().strip()
