"""The parameters of `separate`, which its declaration and its run share."""

from typing import Literal

import attrs

from musproj.processors._runs.fields import InputParams, choice, disregard_all_but, number, text_or_none


@attrs.frozen(kw_only=True)
class SeparateParams(InputParams):
    """How to take a mix apart."""

    engine: Literal["local", "lalal"] = choice("local", ("local", "lalal"), "Here, or by LALAL.AI, for minutes.")
    model: str | None = text_or_none(r".{1,255}", "Name of an ONNX model of this installation; without one: basic.")
    model_sha256: str | None = text_or_none(r"[0-9a-f]{64}", "Refuse another model than the one with this hash.")
    segment_seconds: float = number(20.0, 10.0, 60.0, "s", "Looked at together; the accompaniment repeats within it.")
    strength: float = number(1.0, 0.5, 4.0, "", "Of basic, exponent of its mask: more leaves less music in the vocals.")
    format: Literal["wav", "flac"] = choice("wav", ("wav", "flac"), "Container of the results.")
    bits: Literal[16, 24] = choice(24, (16, 24), "Bits of the results' samples.")

    def __attrs_post_init__(self) -> None:
        """Keep only what the engine makes something of."""
        if self.engine == "lalal":
            disregard_all_but(self, "engine", "format")
