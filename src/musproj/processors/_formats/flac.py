"""What FLAC's own header and last frame tell, beside libFLAC; RFC 9639."""

from typing import BinaryIO

from musproj.processors._formats.header import Header, corrupt, read_exactly

_STREAMINFO_BYTES = 34
_SYNC = (b"\xff\xf8", b"\xff\xf9")  # §9.1: fifteen sync bits, then fixed or variable block size
_TAIL_BYTES = 262_144
"""A longer last frame (8 channels of 32-bit noise in 8,192-sample blocks) is taken for a cut one."""
_MAX_TRIES = 16


def parse(file: BinaryIO, start: int = 0) -> Header:
    """Return what STREAMINFO claims; `start` is where `fLaC` stands, behind an ID3 tag if there is one.

    Raises:
        AudioCorruptError: the first metadata block is not a whole STREAMINFO.
    """
    file.seek(start)
    head = read_exactly(file, 8 + _STREAMINFO_BYTES)
    if head[:4] != b"fLaC" or head[4] & 0x7F or int.from_bytes(head[5:8], "big") != _STREAMINFO_BYTES:
        corrupt("FLAC without its stream information")
    packed = int.from_bytes(head[18:26], "big")  # §8.2: rate 20 bits, channels - 1 in 3, bits - 1 in 5, samples 36
    rate, channels = packed >> 44, (packed >> 41 & 7) + 1
    if not rate:
        corrupt("the header claims a sample rate of 0 Hz")
    frames = packed & (1 << 36) - 1 or None
    return Header(
        container="flac",
        codec="flac",
        sample_rate=rate,
        channels=channels,
        bits=(packed >> 36 & 31) + 1,
        frames=frames,
        claimed_frames=frames,
    )


def ends_in_whole_frame(file: BinaryIO, size: int) -> bool:
    """Tell damage in the middle from a cut: an uncut file's last frame has the right checksum.

    A frame ends in the CRC-16 of all its bytes, so that the CRC over it and its checksum is 0 (§9.3).
    """
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    at = len(tail)
    for _ in range(_MAX_TRIES):
        at = max(tail.rfind(sync, 0, at) for sync in _SYNC)
        if at < 0:
            return False
        if _crc16(tail[at:]) == 0:
            return True
        at += 1
    return False


def _crc16(data: bytes) -> int:
    """CRC with polynomial 0x8005, starting at 0, most significant bit first (§9.3)."""
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFF00) ^ _CRC_TABLE[crc >> 8 ^ byte]
    return crc


def _table_entry(byte: int) -> int:
    value = byte << 8
    for _ in range(8):
        value = (value << 1 ^ 0x8005 if value & 0x8000 else value << 1) & 0xFFFF
    return value


_CRC_TABLE = tuple(map(_table_entry, range(256)))
