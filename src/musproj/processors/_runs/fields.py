"""The kinds of parameter that the processors here are made of, and the ones that several share."""

from collections.abc import Callable
from typing import Any, Literal

import attrs
from attrs.validators import and_, ge, in_, instance_of, le, matches_re, optional

from musproj.ports.processor import AudioInfo

_STEREO = 2


def number(default: float, least: float, most: float, unit: str, description: str) -> float:
    """Return an attrs field of a number within bounds."""
    metadata = {"min": least, "max": most, "description": description} | ({"unit": unit} if unit else {})
    field: float = attrs.field(default=default, validator=and_(ge(least), le(most)), metadata=metadata)
    return field


def whole(default: int, least: int, most: int, description: str, *, unit: str | None = None) -> int:
    """Return an attrs field of a whole number within bounds."""
    metadata = {"min": least, "max": most, "description": description} | ({"unit": unit} if unit else {})
    field: int = attrs.field(default=default, validator=and_(instance_of(int), ge(least), le(most)), metadata=metadata)
    return field


def number_or_none(least: float, most: float, unit: str, description: str) -> float | None:
    """Return an attrs field of a number within bounds, to be left out."""
    metadata = {"unit": unit, "min": least, "max": most, "description": description}
    field: float | None = attrs.field(default=None, validator=optional([ge(least), le(most)]), metadata=metadata)
    return field


def whole_or_none(least: int, most: int, unit: str, description: str) -> int | None:
    """Return an attrs field of a whole number within bounds, to be left out."""
    metadata = {"unit": unit, "min": least, "max": most, "description": description}
    checks = [instance_of(int), ge(least), le(most)]
    field: int | None = attrs.field(default=None, validator=optional(checks), metadata=metadata)
    return field


def text_or_none(pattern: str, description: str) -> str | None:
    """Return an attrs field of a text that matches `pattern` as a whole, to be left out."""
    checks = [instance_of(str), matches_re(pattern)]
    field: str | None = attrs.field(default=None, validator=optional(checks), metadata={"description": description})
    return field


def choice(default: object, among: tuple[object, ...], description: str) -> Any:
    """Return an attrs field of one value out of a few."""
    return attrs.field(default=default, validator=in_(among), metadata={"description": description})


def flag(description: str, *, default: bool = False) -> bool:
    """Return an attrs field that is on or off."""
    field: bool = attrs.field(default=default, validator=instance_of(bool), metadata={"description": description})
    return field


@attrs.frozen(kw_only=True)
class InputParams:
    """How strictly the input is read."""

    strict: bool = flag("Refuse a file that is shorter than its header says.")
    on_nonfinite: Literal["zero", "reject"] = choice(
        "zero", ("zero", "reject"), "Replace samples that are NaN or infinite by 0, or refuse the file."
    )


@attrs.frozen(kw_only=True)
class PcmParams(InputParams):
    """How a result without loss is written."""

    format: Literal["wav", "flac"] = choice("wav", ("wav", "flac"), "Container of the result.")
    bits: Literal[16, 24] = choice(24, (16, 24), "Bits of the result's samples.")
    dither: Literal["none", "tpdf"] = choice(
        "none", ("none", "tpdf"), "Noise of ±1 step, the same for the same input, before rounding."
    )


def disregard_all_but(params: attrs.AttrsInstance, *names: str, **values: object) -> None:
    """Set every field of a new `params` to its default, but for `names`, and `values` as they are given.

    For an engine that makes nothing of them: jobs that differ in such a field alone ask for the same, and are one.
    """
    for field in attrs.fields(type(params)):
        if field.name not in names:
            object.__setattr__(params, field.name, values.get(field.name, field.default))


def memory_by_channels(*, stereo: int, each_more: int) -> Callable[[AudioInfo], int]:
    """Return the declared peak in MB of a processor whose blocks grow with the channels."""

    def memory_mb(info: AudioInfo) -> int:
        return stereo + each_more * max(0, (info.channels or _STEREO) - _STEREO)

    return memory_mb
