"""Presets: where they are read, and what they turn into."""

import pytest

from musproj.application.presets import Choice, Preset, read_presets
from musproj.errors import ConfigurationError, InvalidError, PresetNotFoundError

PODCAST = Preset(name="podcast", type="enhance", params={"targetLufs": -16.0, "denoiseDb": 6.0})
PRESETS = {"podcast": PODCAST}

FILE = """
[podcast]
type = "enhance"
description = "Speech"
params = { targetLufs = -16.0 }

[ringtone]
type = "chain"

[[ringtone.params.steps]]
type = "loop"

[[ringtone.params.steps]]
type = "normalize"
params = { targetLufs = -14.0 }
"""


def test_a_file_of_presets_is_read(tmp_path):
    path = tmp_path / "presets.toml"
    path.write_text(FILE)

    presets = read_presets(path)

    assert presets["podcast"] == Preset(
        name="podcast", type="enhance", params={"targetLufs": -16.0}, description="Speech"
    )
    assert presets["ringtone"].params == {
        "steps": [{"type": "loop"}, {"type": "normalize", "params": {"targetLufs": -14.0}}]
    }


@pytest.mark.parametrize(
    "text",
    ["podcast = 1", "[podcast]", "[podcast]\ntype = 1", '[podcast]\ntype = "x"\nparams = 3', '[podcast]\ntype = "x"\nparam = {}', '["a b"]\ntype = "x"', "["],
)  # fmt: skip
def test_a_wrong_file_is_told(tmp_path, text):
    path = tmp_path / "presets.toml"
    path.write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        read_presets(path)

    assert str(path) in caught.value.message
    assert caught.value.facts["setting"] == "presets"


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nothing\.toml"):
        read_presets(tmp_path / "nothing.toml")


def test_a_choice_is_a_type_or_a_preset():
    assert Choice(type="trim", params={"start": 1}).resolved(PRESETS) == ("trim", {"start": 1})
    assert Choice(preset="podcast").resolved(PRESETS) == ("enhance", PODCAST.params)


def test_given_parameters_go_before_those_of_the_preset():
    kind, params = Choice(preset="podcast", params={"targetLufs": -19}).resolved(PRESETS)

    assert (kind, params) == ("enhance", {"targetLufs": -19, "denoiseDb": 6.0})


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(PresetNotFoundError) as caught:
        Choice(preset="podcst").resolved(PRESETS)

    assert caught.value.hint == "Did you mean 'podcast'?"


@pytest.mark.parametrize(("choice", "code"), [(Choice(), "required"), (Choice(type="a", preset="b"), "conflict")])
def test_neither_and_both_are_refused(choice, code):
    with pytest.raises(InvalidError) as caught:
        choice.resolved(PRESETS)

    assert [(found.pointer, found.code) for found in caught.value.violations] == [("/type", code)]
