"""The parameters of `lalal`, in the words of LALAL.AI v1, and which files a request brings."""

from collections.abc import Mapping
from typing import Literal

import attrs

from musproj.errors import InvalidParamsError, Violation
from musproj.processors._runs.fields import choice, flag

_PHOENIX = ("synthesizer", "strings", "wind")
_STEMS = ("vocals", "drum", "piano", "bass", "electric_guitar", "acoustic_guitar")
_SPLITTERS = ("auto", "andromeda", "perseus", "orion", "phoenix", "lyra", "lynx")
_ANY = (*_STEMS, *_PHOENIX)
MOST_STEMS = 6


def _stems(stem: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in stem.split(","))


def _is_stems(_instance: object, _attribute: "attrs.Attribute[str]", value: object) -> None:
    found = _stems(value) if isinstance(value, str) else ()
    among = _STEMS if len(found) > 1 else _ANY
    if not 1 <= len(found) <= MOST_STEMS or len(set(found)) != len(found) or not set(found) <= set(among):
        raise ValueError(f"must be one of {', '.join(_ANY)}, or two to six of {', '.join(_STEMS)}")


@attrs.frozen(kw_only=True)
class LalalParams:
    """What is taken out of a mix; each stem is billed for itself."""

    task: Literal["split", "voice_clean", "demuser"] = choice(
        "split", ("split", "voice_clean", "demuser"), "Stems of music; speech without noise; speech without music."
    )
    stem: str = attrs.field(
        default="vocals",
        validator=_is_stems,
        metadata={"description": "Of a split: one stem, or up to six, with commas between them."},
    )
    splitter: str = choice("auto", _SPLITTERS, "Network; auto: the newest for the stem.")
    extraction: str = choice("deep_extraction", ("deep_extraction", "clear_cut"), "More of the stem, or less else.")
    dereverb: bool = flag("Take the room out of vocals or voice.")
    lead_and_backing: bool = flag("Lead and backing vocals apart.")
    noise_cancelling: int = choice(0, (0, 1, 2), "Of voice_clean: how hard.")
    format: Literal["wav", "flac"] = choice("wav", ("wav", "flac"), "Container of the results.")

    def __attrs_post_init__(self) -> None:
        """Refuse what the service has no request for.

        Raises:
            InvalidParamsError: backing vocals of another stem.
        """
        if self.lead_and_backing and (self.task != "split" or self.stem != "vocals"):
            detail = "goes with stem=vocals alone"
            raise InvalidParamsError(violations=(Violation("/params/leadAndBacking", "invalid", detail),))

    @property
    def call(self) -> str:
        """The service's name of the request."""
        if self.task != "split":
            return self.task
        return "stem_separator" if len(_stems(self.stem)) == 1 else "multistem"

    @property
    def presets(self) -> Mapping[str, object]:
        """The request's own parameters."""
        common: dict[str, object] = {"encoder_format": self.format}
        if self.splitter != "auto":
            common["splitter"] = self.splitter
        match self.call:
            case "voice_clean":
                return common | {
                    "stem": "voice", "noise_cancelling_level": self.noise_cancelling, "dereverb_enabled": self.dereverb,
                }  # fmt: skip
            case "demuser":
                return common | {"stem": "music"}
            case "multistem":
                return common | {"stem_list": list(_stems(self.stem)), "extraction_level": self.extraction}
            case _:
                return common | self._single

    @property
    def _single(self) -> dict[str, object]:
        found: dict[str, object] = {"stem": self.stem, "extraction_level": self.extraction}
        if self.stem == "vocals":
            found["dereverb_enabled"] = self.dereverb
        if self.lead_and_backing:
            found["multivocal"] = "lead_back"
        return found

    @property
    def files(self) -> Mapping[str, str]:
        """The service's label → our output, the wanted one first."""
        if self.lead_and_backing:
            return {
                "vocals@0": "lead_vocals", "vocals@1": "backing_vocals", "no_vocals": "instrumental",
                "mix_no_lead": "instrumental_backing",
            }  # fmt: skip
        match self.call:
            case "voice_clean":
                return {"voice": "voice", "no_voice": "noise"}
            case "demuser":
                return {"no_music": "voice", "music": "music"}
            case "multistem":
                return {stem: stem for stem in _stems(self.stem)} | {"no_multistem": "rest"}
            case _:
                rest = "instrumental" if self.stem == "vocals" else f"no_{self.stem}"
                return {self.stem: self.stem, f"no_{self.stem}": rest}

    @property
    def optional(self) -> frozenset[str]:
        """Labels that may be missing from a result."""
        return frozenset({"vocals@1"})
