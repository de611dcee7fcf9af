"""The sound that the fakes hear and make: WAV headers, and tones that are never held in memory."""

import hashlib
import io
import math
import struct
import wave
import zlib
from collections.abc import Iterator
from typing import Self

import attrs

BLOCK_BYTES = 64 * 1024
SHORT_SECONDS = 60
_LARGEST_CHUNK = 0xFFFF_FFFF
_MOST_CHANNELS, _HIGHEST_RATE = 64, 768_000
"""More than that is no header, but noise that looks like one."""


@attrs.frozen(kw_only=True)
class Media:
    """What is known of an input; frames and Hz."""

    channels: int
    rate: int
    frames: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.frames / self.rate

    def shortened(self) -> Self:
        """Return the same, of at most 60 seconds."""
        return attrs.evolve(self, frames=min(self.frames, SHORT_SECONDS * self.rate))


def media_of(head: bytes, length: int, *, default_duration: float) -> Media:
    """Return the facts of a file, of which only the first bytes are known.

    Args:
        head: The first bytes; enough of them to hold the header.
        length: Bytes of the whole file.
        default_duration: Seconds, if it is no WAV: then it counts as 44.1 kHz mono.
    """
    return _wav_media(head, length) or Media(channels=1, rate=44_100, frames=round(44_100 * default_duration))


def _wav_media(head: bytes, length: int) -> Media | None:
    # `wave` refuses float and extensible formats in Python 3.11, which are inputs as good as any.
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        return None
    channels = rate = frame_bytes = 0
    at = 12
    while at + 8 <= len(head):
        name, size = struct.unpack_from("<4sI", head, at)
        at += 8
        if name == b"fmt " and at + 16 <= len(head):
            channels, rate, _, frame_bytes = struct.unpack_from("<HIIH", head, at + 2)
        if name == b"data":
            if not (0 < channels <= _MOST_CHANNELS and 0 < rate <= _HIGHEST_RATE and frame_bytes):
                return None
            return Media(channels=channels, rate=rate, frames=min(size, max(0, length - at)) // frame_bytes)
        at += size + size % 2
    return None


@attrs.frozen(kw_only=True)
class Tone:
    """A WAV file whose tone depends on its label; the same facts make the same bytes."""

    media: Media
    label: str
    width: int = 2
    """Bytes of a sample: 2, or 3 for 24 bit."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self._header()) + self._data_bytes + self._data_bytes % 2

    def blocks(self) -> Iterator[bytes]:
        """Yield the file, block by block."""
        yield self._header()
        period = self._period()
        block = period * max(1, BLOCK_BYTES // len(period))
        left = self._data_bytes
        while left > 0:
            yield block[:left]
            left -= len(block)
        if self._data_bytes % 2:
            yield b"\0"  # a RIFF chunk has an even length

    def md5(self) -> str:
        """Return the checksum that Auphonic tells, 32 hex digits."""
        digest = hashlib.md5(usedforsecurity=False)
        for block in self.blocks():
            digest.update(block)
        return digest.hexdigest()

    @property
    def _data_bytes(self) -> int:
        frame_bytes = self.media.channels * self.width
        return min(self.media.frames * frame_bytes, (_LARGEST_CHUNK - 64) // frame_bytes * frame_bytes)

    def _header(self) -> bytes:
        size, rate = self._data_bytes, self.media.rate
        frame_bytes = self.media.channels * self.width
        form = struct.pack("<HHIIHH", 1, self.media.channels, rate, rate * frame_bytes, frame_bytes, 8 * self.width)
        head = struct.pack("<4sI4s4sI", b"RIFF", 36 + size + size % 2, b"WAVE", b"fmt ", len(form))
        return head + form + struct.pack("<4sI", b"data", size)

    def _period(self) -> bytes:
        seed = zlib.crc32(self.label.encode())
        length = max(2, round(self.media.rate / (220 + seed % 660)))  # 220-880 Hz
        peak = (0.1 + (seed >> 16) % 32 / 100) * (2 ** (8 * self.width - 1) - 1)
        values = (round(peak * math.sin(2 * math.pi * i / length)) for i in range(length))
        return b"".join(value.to_bytes(self.width, "little", signed=True) * self.media.channels for value in values)


def wav(seconds: float = 1.0, *, rate: int = 8_000, channels: int = 1, width: int = 2, label: str = "input") -> bytes:
    """Return a small WAV file, to be sent to the fakes."""
    media = Media(channels=channels, rate=rate, frames=round(seconds * rate))
    return b"".join(Tone(media=media, label=label, width=width).blocks())


def parse(content: bytes) -> Media:
    """Return the facts of a whole WAV file, as the standard library reads it.

    Raises:
        wave.Error: it is none.
    """
    with wave.open(io.BytesIO(content)) as file:
        return Media(channels=file.getnchannels(), rate=file.getframerate(), frames=file.getnframes())
