import pytest
from hypothesis import given
from hypothesis import strategies as st

from musproj.domain.media import CONTENT_TYPES, container_of, needs_of, sniff

MP3_FRAME = b"\xff\xfb\x90\x64" + bytes(413)
ADTS_FRAME = b"\xff\xf1\x50\x80\x02\x1f\xfc"


def id3(size: int) -> bytes:
    return b"ID3\4\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0))


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"RIFF\x24\0\0\0WAVEfmt ", "wav"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "wav"),
        (b"BW64\xff\xff\xff\xffWAVEds64", "wav"),
        (b"RIFX\0\0\0\x24WAVEfmt ", "wav"),
        (b"RIFF\x24\0\0\0AVI LIST", None),
        (b"FORM\0\0\0\x10AIFFCOMM", "aiff"),
        (b"FORM\0\0\0\x10AIFCFVER", "aiff"),
        (b"FORM\0\0\0\x10ILBMBMHD", None),
        (b"fLaC\0\0\0\x22", "flac"),
        (b"OggS\0\2", "ogg"),
        (b"caff\0\1\0\0", "caf"),
        (b"riff\x2e\x91\xcf\x11\xa5\xd6", "w64"),
        (b"\0\0\0\x1cftypM4A ", "m4a"),
        (MP3_FRAME, "mp3"),
        (id3(4) + b"\0\0\0\0" + MP3_FRAME, "mp3"),
        (id3(200_000) + bytes(100), "mp3"),
        (id3(2) + b"\0\0fLaC", "flac"),
        (bytes(64) + MP3_FRAME, "mp3"),
        (ADTS_FRAME, "aac"),
        (b"\xff\xff\xff\xff", None),
        (b"", None),
        (b"\0" * 100, None),
        (b"<!DOCTYPE html>", None),
        (b"PK\3\4", None),
        (b"\xff\xfe<\0h\0t\0m\0l\0", None),
    ],
)
def test_a_container_is_told_by_its_first_bytes(head, container):
    assert sniff(head) == container


@given(st.binary(max_size=200))
def test_any_bytes_are_a_known_container_or_none(head):
    assert sniff(head) in {None, *CONTENT_TYPES}


@pytest.mark.parametrize(
    ("content_type", "filename", "container"),
    [
        ("audio/wav", None, "wav"),
        ("Audio/X-WAV; charset=x", None, "wav"),
        ("audio/x-m4a", "x.wav", "m4a"),
        ("text/html", "song.FLAC", "flac"),
        (None, "memo.m4a", "m4a"),
        (None, "take.aif", "aiff"),
        (None, "c:\\sounds\\x.OPUS", "ogg"),
        (None, "a.wav.php", None),
        (None, "noextension", None),
        (None, None, None),
    ],
)
def test_a_container_is_told_by_what_was_declared(content_type, filename, container):
    assert container_of(content_type, filename) == container


def test_every_recorded_type_leads_back_to_its_container():
    assert {container_of(kind, None) for kind in CONTENT_TYPES.values()} == set(CONTENT_TYPES)


def test_what_a_worker_needs_to_decode():
    assert needs_of("audio/mp4") == ("codecs",)
    assert needs_of("audio/wav") == ()
