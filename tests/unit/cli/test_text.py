from datetime import UTC, datetime

import pytest

from musproj.cli import text


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("two\nlines\tand a tab", r"two\x0alines\x09and a tab"),
        ("\x9b31m", r"\x9b31m"),
        ("gnp.\u202eevil", r"gnp.\u202eevil"),
        ("\u2066isolate\u2069", r"\u2066isolate\u2069"),
        ("line\u2028separator", r"line\u2028separator"),
        ("bell\x07", r"bell\x07"),
        ("undecodable\udcff", r"undecodable\udcff"),
    ],
)
def test_what_steers_a_terminal_is_written_as_an_escape(hostile, shown):
    assert text.visible(hostile) == shown


@pytest.mark.parametrize("harmless", ["Grüße – 日本語 🎶", "a\\b", "👩‍🎤"])
def test_what_people_write_stays_as_it_is(harmless):
    assert text.visible(harmless) == harmless


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (48_200_000, "48.2 MB"), (3 * 10**12, "3.0 TB")],
)
def test_sizes(size, shown):
    assert text.human_size(size) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (59.6, "1:00"), (192, "3:12"), (3_723, "1:02:03")])
def test_durations(seconds, shown):
    assert text.human_duration(seconds) == shown


@pytest.mark.parametrize(
    ("rate", "channels", "shown"), [(44_100, 2, "44.1k/2ch"), (48_000, None, "48k"), (None, 1, "1ch"), (None, None, "")]
)
def test_formats(rate, channels, shown):
    assert text.human_rate(rate, channels) == shown


def test_a_time_for_programs_is_utc_with_milliseconds():
    assert text.iso_time(datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)) == "2026-01-02T03:04:05.678Z"
