"""What a download is called and served as."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from musproj.domain.downloads import clean_name, disposition, served_type

BAD = re.compile('[\x00-\x1f\x7f-\x9f"/\\\\\u2028\u2029\u202a-\u202e\u2066-\u2069\u200e\u200f\ud800-\udfff]')


@given(st.one_of(st.text(), st.text(st.characters(codec=None)), st.text("a.\"/\\ %\r\n\0\u202e'é", max_size=300)))
@example("\ud800")
@example("..")
@example("a" * 300 + ".wav")
@example("é" * 300 + ".wav")
@example(" . a . ")
def test_any_name_becomes_a_harmless_one(name: str) -> None:
    clean = clean_name(name)
    assert BAD.search(clean) is None
    assert clean == clean.strip(". ")
    assert 0 < len(clean.encode()) <= 255
    assert clean_name(clean) == clean
    header = disposition(name, inline=False)
    assert re.fullmatch(r"[\x20-\x7e]+", header)
    match = re.fullmatch(
        r"""attachment; filename="([^"\\%]+)"; filename\*=UTF-8''([A-Za-z0-9!#$&+.^_`|~%-]+)""", header
    )
    assert match is not None
    assert unquote(match[2], errors="strict") == clean


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("take one.wav", "take one.wav"),
        ("Straße – Mix №2.wav", "Straße – Mix №2.wav"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a\u202egnp.exe", "agnp.exe"),
        ('say "hi".wav', "say hi.wav"),
        ("e\u0301.wav", "é.wav"),
        ("\r\n", "download"),
        ("", "download"),
        ("x" * 400 + ".wav", "x" * 251 + ".wav"),
        ("x." + "y" * 400, "x." + "y" * 253),
    ],
)
def test_a_name_keeps_what_it_can(name: str, clean: str) -> None:
    assert clean_name(name) == clean


@pytest.mark.parametrize(
    ("content_type", "served"),
    [
        ("audio/wav", "audio/wav"),
        ("audio/ogg; codecs=opus", "audio/ogg; codecs=opus"),
        ("AUDIO/wav", "application/octet-stream"),
        ("application/json", "application/json"),
        ("image/png", "image/png"),
        ("text/html", "application/octet-stream"),
        ("text/html; charset=audio/wav", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("audio/wav\r\nset-cookie: a=b", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_only_what_cannot_run_keeps_its_type(content_type: str, served: str) -> None:
    assert served_type(content_type) == served
