"""The parameters of `transcode`; light."""

from typing import Literal

import attrs
from attrs.validators import ge, instance_of, le, optional

from musproj.errors import InvalidParamsError, Violation
from musproj.processors._runs.fields import InputParams, choice, flag, number

CODECS = {
    "wav": ("pcm",),
    "rf64": ("pcm",),
    "aiff": ("pcm",),
    "caf": ("pcm",),
    "flac": ("flac",),
    "mp3": ("mp3",),
    "ogg": ("vorbis",),
    "opus": ("opus",),
    "m4a": ("aac", "alac"),
}
"""By format; the first is the usual one."""
BITS = {"pcm": (16, 24, 32, "float"), "flac": (16, 24), "alac": (16, 24)}
"""Of codecs without loss."""
KBPS = {"mp3": (32, 320), "aac": (32, 320), "opus": (6, 510)}
"""Least and most."""

_BITRATE = {
    "unit": "kbit/s",
    "min": 6,
    "max": 510,
    "description": "Instead of `quality`: MP3 and AAC 32 to 320, Opus 6 to 510.",
}


@attrs.frozen(kw_only=True)
class TranscodeParams(InputParams):
    """What to make of the input."""

    format: Literal["wav", "rf64", "aiff", "caf", "flac", "mp3", "ogg", "opus", "m4a"] = choice(
        "flac", tuple(CODECS), "Container of the result; `ogg` is Vorbis."
    )
    codec: Literal["auto", "pcm", "flac", "mp3", "vorbis", "opus", "aac", "alac"] = choice(
        "auto",
        ("auto", "pcm", "flac", "mp3", "vorbis", "opus", "aac", "alac"),
        "M4A holds `aac` or `alac`; every other format has one codec.",
    )
    bits: Literal["source", 16, 24, 32, "float"] = choice(
        "source", ("source", 16, 24, 32, "float"), "Of codecs without loss: as the input's samples, else 24."
    )
    quality: float = number(0.5, 0.0, 1.0, "", "Of codecs with loss, from smallest to best.")
    bitrate_kbps: int | None = attrs.field(
        default=None, validator=optional([instance_of(int), ge(6), le(510)]), metadata=_BITRATE
    )
    auto_convert: bool = flag("Change rate or channels where the codec cannot take them, or refuse.", default=True)
    keep_tags: bool = flag("Carry title, artist, album, date, comment, track and cover.", default=True)
    dither: Literal["none", "tpdf"] = choice(
        "none", ("none", "tpdf"), "Noise of ±1 step, the same for the same input, where bits are taken away."
    )
    verify: bool = flag("Decode the result, count its frames, and compare what must be the same.", default=True)

    def __attrs_post_init__(self) -> None:
        """Refuse what does not go together.

        Raises:
            InvalidParamsError: it does not.
        """
        codec = self.actual_codec
        if codec not in CODECS[self.format]:
            raise _wrong("codec", f"{self.format} holds {' or '.join(CODECS[self.format])}, not {codec}")
        among = BITS.get(codec)
        if self.bits != "source" and among is None:
            raise _wrong("bits", f"{codec} has no bits to choose")
        if self.bits != "source" and among is not None and self.bits not in among:
            raise _wrong("bits", f"{codec} takes {', '.join(map(str, among))}")
        if self.bitrate_kbps is not None:
            least, most = KBPS.get(codec, (0, 0))
            if not most:
                raise _wrong("bitrateKbps", f"{codec} takes no bit rate; there is one for {', '.join(KBPS)}")
            if not least <= self.bitrate_kbps <= most:
                raise _wrong("bitrateKbps", f"must be {least} to {most} for {codec}")

    @property
    def actual_codec(self) -> str:
        """The codec that is asked for, or the format's usual one."""
        return CODECS[self.format][0] if self.codec == "auto" else self.codec

    @property
    def is_lossless(self) -> bool:
        """The codec gives back the integers that it was given."""
        return self.actual_codec in BITS


def needs(params: TranscodeParams) -> tuple[str, ...]:
    """Return what a worker must have beside the extra `audio`."""
    return ("codecs",) if params.format == "m4a" else ()


def _wrong(name: str, detail: str) -> InvalidParamsError:
    return InvalidParamsError(violations=(Violation(f"/params/{name}", "invalid", detail),))
