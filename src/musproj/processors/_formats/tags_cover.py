"""Puts a picture into a finished FLAC or MP3; libsndfile writes texts only.

Layouts: RFC 9639 §8.8 (PICTURE), id3.org ID3v2.4.0 (structure §3, frames §4).
"""

import shutil
import struct
from pathlib import Path

from musproj.processors._formats.tags import Cover, Tags

_FRONT = 3
_STREAMINFO_END = 42
_FLAC_PICTURE = 6
_LAST = 0x80
_UTF8 = b"\x03"
_ID3_FRAMES = {"title": b"TIT2", "artist": b"TPE1", "album": b"TALB", "date": b"TDRC", "track": b"TRCK"}


def embed_cover(path: Path, tags: Tags) -> None:
    """Rewrite `path`, a FLAC, or an MP3 without a tag, with the picture of `tags`; an MP3 gets the texts with it."""
    assert tags.cover is not None
    if path.suffix.lower() == ".mp3":
        _put_in_front(path, _id3(tags, tags.cover), skip=0)
        return
    with path.open("rb") as file:
        head = bytearray(file.read(_STREAMINFO_END))
    picture = _flac_picture(tags.cover)
    is_last = head[4] & _LAST
    head[4] &= ~_LAST & 0xFF
    block = struct.pack(">I", (_FLAC_PICTURE | is_last) << 24 | len(picture))
    _put_in_front(path, bytes(head) + block + picture, skip=_STREAMINFO_END)


def _put_in_front(path: Path, head: bytes, *, skip: int) -> None:
    """Replace the first `skip` bytes of `path` by `head`."""
    whole = path.with_name(path.name + ".part")
    with path.open("rb") as old, whole.open("wb") as new:
        old.seek(skip)
        new.write(head)
        shutil.copyfileobj(old, new)
    whole.replace(path)


def _flac_picture(cover: Cover) -> bytes:
    """Return the block's body; its sizes in pixels may be 0, for unknown."""
    kind = cover.media_type.encode()
    return (
        struct.pack(">II", _FRONT, len(kind)) + kind + struct.pack(">6I", 0, 0, 0, 0, 0, len(cover.data)) + cover.data
    )


def _id3(tags: Tags, cover: Cover) -> bytes:
    frames = [
        _frame(_ID3_FRAMES[name], _UTF8 + text.encode()) for name, text in tags.fields.items() if name in _ID3_FRAMES
    ]
    if "comment" in tags.fields:
        frames.append(_frame(b"COMM", _UTF8 + b"und\0" + tags.fields["comment"].encode()))
    frames.append(_frame(b"APIC", _UTF8 + cover.media_type.encode() + b"\0" + bytes((_FRONT, 0)) + cover.data))
    body = b"".join(frames)
    return b"ID3\x04\0\0" + _syncsafe(len(body)) + body


def _frame(name: bytes, body: bytes) -> bytes:
    return name + _syncsafe(len(body)) + b"\0\0" + body


def _syncsafe(size: int) -> bytes:
    """Return four bytes of seven bits each."""
    return bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
