"""What an audio file's header says, in one shape for every container; standard library only."""

from collections.abc import Mapping
from typing import BinaryIO, Literal, NoReturn

import attrs

from musproj.errors import AudioCorruptError, UnsupportedFormatError
from musproj.ports.processor import AudioInfo

MAX_CHUNKS = 65_536
"""No honest file comes near; a walk over more is a denial of service."""
MAX_CHUNK_BYTES = 65_536
"""As much of a header chunk as is ever read, whatever it claims."""
MANY_CHUNKS = 1_000
"""From here on the header is called inconsistent, though it is read."""

_MAX_RATE_FIELD = 0x7FFF_FFFF
_MAX_PCM_BITS = 32
_FIRST_PCM_BITS = 8

# WAVEFORMATEXTENSIBLE's order, which FLAC and FFmpeg share (mmreg.h, SPEAKER_*).
SPEAKERS = ("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR")
DEFAULT_SPEAKERS: Mapping[int, tuple[str, ...]] = {
    1: ("FC",),
    2: ("FL", "FR"),
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
"""What a file without a layout of its own is taken for."""


@attrs.frozen
class Note:
    """A warning that reading the file earns."""

    code: str
    message: str
    facts: Mapping[str, object] = attrs.field(factory=dict[str, object])


@attrs.frozen(kw_only=True)
class SampleFormat:
    """How one uncompressed sample lies in the file."""

    kind: Literal["int", "uint", "float", "ulaw", "alaw"]
    width: int
    """Bytes."""
    big_endian: bool = False

    @property
    def codec(self) -> str:
        """`pcm_s16`, `pcm_u8`, `pcm_f32`, `pcm_ulaw`, …"""
        if self.kind in ("ulaw", "alaw"):
            return f"pcm_{self.kind}"
        letter = {"int": "s", "uint": "u", "float": "f"}[self.kind]
        return f"pcm_{letter}{self.width * 8}"


@attrs.frozen(kw_only=True)
class PcmRegion:
    """Where a file's uncompressed samples lie."""

    offset: int
    """Bytes from the start of the file."""
    sample: SampleFormat


@attrs.frozen(kw_only=True)
class Header:
    """The facts; sizes are clamped to the file, so that nothing here asks for more than is there."""

    container: str
    codec: str | None = None
    sample_rate: int
    channels: int
    bits: int | None = None
    is_float: bool = False
    frames: int | None = None
    """What the file can hold at most, or what its decoder claims; None while unknown."""
    claimed_frames: int | None = None
    """What the header claims."""
    priming: int = 0
    """Frames that a codec gives before the sound begins, where the container's index tells them."""
    speakers: tuple[str, ...] | None = None
    """Names of `SPEAKERS`, one per channel, or None where the file does not tell."""
    region: PcmRegion | None = None
    """None where a codec must decode it."""
    notes: tuple[Note, ...] = ()

    def info(self, size_bytes: int) -> AudioInfo:
        """Return the public form."""
        return AudioInfo(
            container=self.container,
            codec=self.codec,
            sample_rate=self.sample_rate,
            channels=self.channels,
            frames=self.frames,
            bits=self.bits,
            is_float=self.is_float,
            size_bytes=size_bytes,
        )


@attrs.frozen
class Extent:
    """A stretch of sample bytes: what is claimed and what the file really has."""

    offset: int
    claimed: int | None
    """Bytes; None where a recorder that streamed left the size open."""
    available: int

    @property
    def size(self) -> int:
        """Bytes that can be read."""
        return self.available if self.claimed is None else min(self.claimed, self.available)


def pcm_header(
    *,
    container: str,
    sample: SampleFormat,
    sample_rate: int,
    channels: int,
    bits: int,
    extent: Extent,
    claimed_frames: int | None = None,
    speakers: tuple[str, ...] | None = None,
    notes: tuple[Note, ...] = (),
) -> Header:
    """Return the header of an uncompressed file, with the notes that its extent earns."""
    frame_bytes = channels * sample.width
    if claimed_frames is None and extent.claimed is not None:
        claimed_frames = extent.claimed // frame_bytes
    frames = extent.size // frame_bytes
    if claimed_frames is not None:
        frames = min(frames, claimed_frames)
    if extent.claimed is None:
        notes = (*notes, Note("unknownLength", "The header leaves the length open; read to the end of the file."))
    return Header(
        container=container,
        codec=sample.codec,
        sample_rate=sample_rate,
        channels=channels,
        bits=bits,
        is_float=sample.kind == "float",
        frames=frames,
        claimed_frames=claimed_frames,
        speakers=speakers,
        region=PcmRegion(offset=extent.offset, sample=sample),
        notes=notes,
    )


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """Return the next `size` bytes.

    Raises:
        AudioCorruptError: the file ends before.
    """
    data = file.read(size)
    if len(data) < size:
        corrupt("the header ends too early")
    return data


def checked_shape(sample_rate: int, channels: int) -> None:
    """Refuse values that no file can mean; the limits are checked elsewhere.

    Raises:
        AudioCorruptError: no channel, or a rate of zero or beyond 31 bits.
    """
    if channels <= 0:
        corrupt("the header claims no channel")
    if not 0 < sample_rate <= _MAX_RATE_FIELD:
        corrupt(f"the header claims a sample rate of {sample_rate} Hz")


def pcm_width(bits: int) -> int:
    """Return the bytes of a PCM sample of `bits` bits: samples fill whole bytes, from the top.

    Raises:
        UnsupportedFormatError: fewer than 8 bits.
        AudioCorruptError: none, or more than 32.
    """
    if 0 < bits < _FIRST_PCM_BITS:
        raise UnsupportedFormatError(f"PCM of {bits} bits cannot be read here", bits=bits)
    if not 0 < bits <= _MAX_PCM_BITS:
        corrupt(f"the header claims PCM of {bits} bits")
    return (bits + 7) // 8


def corrupt(what: str) -> NoReturn:
    """Raise `AudioCorruptError` with a sentence."""
    raise AudioCorruptError(f"The file is damaged: {what}.")
