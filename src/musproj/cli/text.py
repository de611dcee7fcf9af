"""How values look to people: sizes, durations, times; and names that try to look like something else."""

import re
from datetime import UTC, datetime

_HOSTILE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: terminal control sequences begin here
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Unicode bidirectional controls (UAX #9, 2.1-2.5)
    "\u2028\u2029\ufeff\ud800-\udfff]"  # line and paragraph separators, byte order mark, undecodable bytes
)


def visible(text: str) -> str:
    r"""Return `text` with every character that steers a terminal written as an escape, such as `\x1b`."""
    return _HOSTILE.sub(lambda found: _escape(ord(found[0])), text)


def human_size(size: int) -> str:
    """Return bytes as `48.2 MB`, in powers of 1000."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def human_duration(seconds: float) -> str:
    """Return seconds as `3:12`, or `1:02:03`."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, second = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"


def human_rate(sample_rate: int | None, channels: int | None) -> str:
    """Return the format of audio as `44.1k/2ch`."""
    parts = [f"{sample_rate / 1000:g}k"] if sample_rate else []
    if channels:
        parts.append(f"{channels}ch")
    return "/".join(parts)


def local_time(moment: datetime) -> str:
    """Return a time in the reader's zone, to the minute."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def short_time(moment: datetime, now: datetime) -> str:
    """Return a time in the reader's zone as a column has room for: of today the minute, else day or month."""
    here, today = moment.astimezone(), now.astimezone()
    if here.date() == today.date():
        return here.strftime("%H:%M")
    return here.strftime("%d %b" if here.year == today.year else "%Y-%m")


def iso_time(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
