"""A lower layer may name a higher one only as a string; a rename must break here, not in production."""

import ast
import importlib
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import musproj
from musproj.errors import MissingExtraError
from musproj.registry import BUILT_IN, PROCESSORS

PROJECT = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]


def targets() -> set[str]:
    """Return every `module:object` of ours that stands in a string of the package or in a script's entry."""
    strings = {
        node.value
        for file in Path(musproj.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in strings if re.fullmatch(r"musproj[\w.]*:[\w.]+", text)} | set(PROJECT["scripts"].values())


def resolve(target: str) -> object:
    """Return what `target` stands for, or the error by which its module says what is missing."""
    module, _, path = target.partition(":")
    try:
        found: object = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except MissingExtraError as error:
        return error
    return found


@pytest.mark.parametrize("target", sorted(targets()))
def test_every_string_resolves_or_names_the_extra_that_it_needs(target):
    found = resolve(target)

    if isinstance(found, MissingExtraError):
        assert find_spec(str(found.facts["library"])) is None, "says that an installed library is missing"
        assert found.facts["extra"] in PROJECT["optional-dependencies"]
    else:
        assert found is not None


def test_the_built_in_table_has_a_target_for_every_name():
    assert {target for table in BUILT_IN.values() for target in table.values()} <= targets()


@pytest.mark.parametrize("name", sorted(BUILT_IN[PROCESSORS]))
def test_a_processor_bears_the_name_that_it_is_found_by(name):
    assert resolve(BUILT_IN[PROCESSORS][name]).spec.name == name
