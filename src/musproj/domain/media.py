"""Audio containers: what their first bytes, file extensions and media types are."""

from pathlib import PurePosixPath

OCTET_STREAM = "application/octet-stream"

SNIFF_BYTES = 65_536
"""How much of a file `sniff` wants: an MPEG stream may hide behind a long ID3 tag."""

CONTENT_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "aiff": "audio/aiff",
    "caf": "audio/x-caf",
    "ogg": "audio/ogg",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "w64": "audio/x-w64",
}
"""Container → the media type that is recorded and served."""

_ALIASES = {
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/x-flac": "flac",
    "audio/x-aiff": "aiff",
    "audio/caf": "caf",
    "audio/opus": "ogg",
    "audio/vorbis": "ogg",
    "application/ogg": "ogg",
    "audio/mp3": "mp3",
    "audio/m4a": "m4a",
    "audio/x-m4a": "m4a",
    "audio/aacp": "aac",
    "audio/x-aac": "aac",
}

_EXTENSIONS = {"aif": "aiff", "aifc": "aiff", "oga": "ogg", "opus": "ogg", "mp4": "m4a", "rf64": "wav", "bw64": "wav"}

_NEEDS = {"m4a": "codecs", "aac": "codecs"}

_ID3_HEADER = 10


def sniff(head: bytes) -> str | None:
    """Return the container that `head`, a file's first bytes, belongs to, or None where it is no audio."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return "wav" if head[8:12] == b"WAVE" else None
    if head[:4] == b"FORM":
        return "aiff" if head[8:12] in (b"AIFF", b"AIFC") else None
    if head[4:8] == b"ftyp":
        return "m4a"
    for magic, container in ((b"fLaC", "flac"), (b"OggS", "ogg"), (b"caff", "caf"), (b"riff\x2e\x91\xcf\x11", "w64")):
        if head.startswith(magic):
            return container
    return _sniff_mpeg(head)


def container_of(content_type: str | None, filename: str | None) -> str | None:
    """Return the container that a declared type, else a file name's extension, stands for."""
    if content_type:
        plain = content_type.partition(";")[0].strip().lower()
        for container, known in CONTENT_TYPES.items():
            if plain == known:
                return container
        if plain in _ALIASES:
            return _ALIASES[plain]
    if filename:
        extension = PurePosixPath(filename.replace("\\", "/")).suffix.lower().lstrip(".")
        extension = _EXTENSIONS.get(extension, extension)
        return extension if extension in CONTENT_TYPES else None
    return None


def needs_of(content_type: str) -> tuple[str, ...]:
    """Return the extras that a worker must have to decode `content_type`."""
    container = container_of(content_type, None)
    return (_NEEDS[container],) if container in _NEEDS else ()


def _sniff_mpeg(head: bytes) -> str | None:
    if head.startswith(b"ID3") and len(head) >= _ID3_HEADER:
        size = (head[6] & 127) << 21 | (head[7] & 127) << 14 | (head[8] & 127) << 7 | head[9] & 127
        head = head[_ID3_HEADER + size :]
        if not head:
            # The tag (cover art, often) is longer than what was read: nothing but MPEG audio carries ID3 first.
            return "mp3"
        if head.startswith(b"fLaC"):
            return "flac"
    head = head.lstrip(b"\0")
    if len(head) < 4 or head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0:
        return "aac"
    layer, bitrate, rate = head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    is_frame = head[1] & 0xE0 == 0xE0 and head[1] >> 3 & 3 != 1 and layer != 0 and bitrate != 15 and rate != 3
    return "mp3" if is_frame else None
