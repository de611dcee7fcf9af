"""What LALAL can be asked for: presets, and the tracks that come of them."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

import attrs

from musproj.testing.fakes.exchange import Json, as_list, as_object

Track = tuple[str, str]
"""Type and label."""

_MULTISTEM: Final = ("vocals", "drum", "piano", "bass", "electric_guitar", "acoustic_guitar")
_STEMS: Final = {
    "stem_separator": (*_MULTISTEM, "synthesizer", "strings", "wind"),
    "voice_clean": ("voice",),
    "demuser": ("music",),
}
BATCHED: Final = tuple(_STEMS)
KINDS: Final = (*_STEMS, "multistem")
_CHOICES: Final[dict[str, tuple[object, ...]]] = {
    "splitter": ("auto", "andromeda", "perseus", "orion", "phoenix", "lyra", "lynx", None),
    "extraction_level": ("deep_extraction", "clear_cut", None),
    "dereverb_enabled": (True, False, None),
    "encoder_format": ("mp3", "wav", "flac", "aac", "ogg", None),
    "multivocal": ("lead_back", None),
    "noise_cancelling_level": (0, 1, 2, None),
    "tonality_reference": ("source_file", "voice_pack", None),
}
_MOST_STEMS: Final = 6
MADE_FORMATS: Final = ("wav", None)
"""What the fake encodes; None: as the source."""


class LalalError(Exception):
    """The service refuses."""

    def __init__(self, status: int, body: Json) -> None:
        """Refuse with a status and an answer."""
        super().__init__(str(body))
        self.status, self.body = status, body


def refused(code: str, detail: str) -> LalalError:
    """Return the refusal of something that is well formed."""
    return LalalError(400, {"detail": detail, "code": code})


def invalid(path: Sequence[str | int], message: str) -> LalalError:
    """Return the refusal of something that is not."""
    kind = "missing" if message == "Field required" else "value_error"
    return LalalError(422, {"detail": [{"loc": ["body", *path], "msg": message, "type": kind}]})


@attrs.frozen(kw_only=True)
class Order:
    """A split or a change of voice, as asked for."""

    kind: str
    source_id: str
    presets: Json
    key: str | None = None

    @property
    def stems(self) -> int:
        """How often the duration is charged."""
        return len(as_list(self.presets["stem_list"])) if self.kind == "multistem" else 1

    def tracks(self) -> list[Track]:
        """Return the tracks that come of it."""
        if self.kind == "change_voice":
            return [("back", "converted_mix")]
        if self.kind == "multistem":
            return [*(("stem", str(stem)) for stem in as_list(self.presets["stem_list"])), ("back", "no_multistem")]
        stem = str(self.presets["stem"])
        if self.presets.get("multivocal") == "lead_back":
            return [("stem", "vocals@0"), ("stem", "vocals@1"), ("back", "no_vocals"), ("back", "mix_no_lead")]
        return [("stem", stem), ("back", f"no_{stem}")]


def order_of(kind: str, data: Any, path: Sequence[str | int] = ("split_input",)) -> Order:
    """Return the order that JSON describes.

    Raises:
        LalalError: 422, naming the field below `path`.
    """
    fields = as_object(data)
    presets = as_object(fields.get("presets"))
    for name in ("source_id", "presets"):
        if fields.get(name) is None:
            raise invalid([*path, name], "Field required")
    _check_presets(kind, presets, [*path, "presets"])
    key = fields.get("idempotency_key")
    if key is not None and not is_uuid4(key):
        raise invalid([*path, "idempotency_key"], "Input should be a valid UUID, version 4")
    if presets.get("encoder_format") not in MADE_FORMATS:
        raise refused("bad_request", "The fake makes wav only.")
    return Order(kind=kind, source_id=str(fields["source_id"]), presets=presets, key=key)


def is_uuid4(value: object) -> bool:
    """Whether it is the text of a uuid of version 4."""
    try:
        return uuid.UUID(str(value)).version == 4
    except ValueError:
        return False


def _check_presets(kind: str, presets: Json, path: Sequence[str | int]) -> None:
    needed = {"multistem": "stem_list", "change_voice": "voice_pack_id"}.get(kind, "stem")
    if presets.get(needed) is None:
        raise invalid([*path, needed], "Field required")
    if kind in _STEMS and presets["stem"] not in _STEMS[kind]:
        raise invalid([*path, "stem"], f"Input should be one of: {', '.join(_STEMS[kind])}")
    stems = as_list(presets.get("stem_list"))
    if kind == "multistem" and not (0 < len(stems) <= _MOST_STEMS and all(stem in _MULTISTEM for stem in stems)):
        raise invalid([*path, "stem_list"], f"Input should be 1 to 6 of: {', '.join(_MULTISTEM)}")
    for name, choices in _CHOICES.items():
        if presets.get(name) not in choices:
            raise invalid([*path, name], f"Input should be one of: {', '.join(map(str, choices))}")
