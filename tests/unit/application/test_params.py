from typing import Literal

import attrs
import pytest
from attrs.validators import and_, ge, gt, in_, le, min_len, optional

from musproj.application.params import canonical, parse, schema, typed_pairs
from musproj.errors import InvalidParamsError


@attrs.frozen(kw_only=True)
class Params:
    target_lufs: float = attrs.field(
        default=-16.0, validator=and_(ge(-40.0), le(-5.0)), metadata={"unit": "LUFS", "description": "loudness"}
    )
    passes: int = attrs.field(default=2, validator=[ge(1), le(8)])
    dither: bool = False
    mode: Literal["fast", "good"] = "good"
    gate: float | None = attrs.field(default=None, validator=optional(gt(0.0)))
    label: str = attrs.field(default="x", validator=min_len(1))
    colour: str = attrs.field(default="red", validator=in_(("red", "blue")))


@attrs.frozen(kw_only=True)
class Needy:
    name: str


@attrs.frozen(kw_only=True)
class Crossed:
    low: int = 1
    high: int = 2

    def __attrs_post_init__(self):
        if self.low > self.high:
            raise ValueError("low must not be above high")


def violations(kind, data):
    with pytest.raises(InvalidParamsError) as caught:
        parse(kind, data)
    return {v.pointer: v.detail for v in caught.value.violations}


def test_defaults_are_filled_in_and_none_is_absent():
    assert canonical(parse(Params, {"targetLufs": -20})) == {
        "targetLufs": -20.0,
        "passes": 2,
        "dither": False,
        "mode": "good",
        "label": "x",
        "colour": "red",
    }


def test_a_whole_number_is_an_integer_and_an_integer_a_number():
    params = parse(Params, {"passes": 3.0, "targetLufs": -18, "gate": 1})
    assert (params.passes, params.target_lufs, params.gate) == (3, -18.0, 1.0)
    assert isinstance(params.passes, int)
    assert isinstance(params.target_lufs, float)


def test_every_wrong_place_is_named_with_what_is_allowed():
    found = violations(
        Params,
        {
            "targetLufs": 3,
            "passes": 2.5,
            "dither": "yes",
            "mode": "best",
            "gate": 0,
            "label": "",
            "targetLuf": 1,
            "a/b": 1,
        },
    )
    assert found["/params/targetLufs"] == "must be -40.0 to -5.0 LUFS"
    assert "integer" in found["/params/passes"]
    assert "boolean" in found["/params/dither"]
    assert found["/params/mode"] == "must be one of fast, good"
    assert "did you mean targetLufs" in found["/params/targetLuf"]
    assert "known:" in found["/params/a~1b"]
    assert {"/params/gate", "/params/label"} <= found.keys()


@pytest.mark.parametrize("value", [True, None, "16", float("nan"), float("inf"), 10**400, [], {}])
def test_no_other_type_passes_for_a_number(value):
    assert "/params/targetLufs" in violations(Params, {"targetLufs": value})


@pytest.mark.parametrize("value", [1, "true", None])
def test_no_other_type_passes_for_a_boolean(value):
    assert "/params/dither" in violations(Params, {"dither": value})


def test_required_and_crossed_parameters():
    assert violations(Needy, {}) == {"/params/name": "this parameter is required"}
    assert violations(Crossed, {"low": 5}) == {"/params": "low must not be above high"}


def parse_pairs(pairs):
    return parse(Params, typed_pairs(Params, pairs))


def test_pairs_from_a_command_line_take_their_declared_types():
    params = parse_pairs(["targetLufs=-14", "passes=3", "dither=on", "mode=fast", "label=a=b", "gate=0.5"])
    assert params == Params(target_lufs=-14.0, passes=3, dither=True, mode="fast", label="a=b", gate=0.5)
    assert parse_pairs(["target_lufs=-14"]).target_lufs == -14.0
    assert typed_pairs(Params, ["dither=off"]) == {"dither": False}


@pytest.mark.parametrize("pair", ["targetLufs", "targetLufs=loud", "dither=maybe", "mode=best", "nothing=1"])
def test_pairs_that_say_nothing_are_refused(pair):
    with pytest.raises(InvalidParamsError):
        parse_pairs([pair])


def test_the_schema_says_what_parse_allows():
    document = schema(Params)
    assert document["additionalProperties"] is False
    properties = document["properties"]
    assert properties["targetLufs"] == {
        "type": "number",
        "minimum": -40.0,
        "maximum": -5.0,
        "description": "loudness",
        "x-unit": "LUFS",
        "default": -16.0,
    }
    assert properties["passes"] == {"type": "integer", "minimum": 1, "maximum": 8, "default": 2}
    assert properties["mode"] == {"type": "string", "enum": ["fast", "good"], "default": "good"}
    assert properties["gate"] == {"type": "number", "exclusiveMinimum": 0.0}
    assert "required" not in document
    assert schema(Needy)["required"] == ["name"]
