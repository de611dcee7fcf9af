"""Codes of errors are public API: HTTP, CLI, logs and job records show them."""

import inspect
import re

import pytest

from musproj import errors
from musproj.errors import MusProjError

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, MusProjError)]


@pytest.mark.parametrize("cls", CLASSES)
def test_a_code_is_one_snake_case_word(cls):
    assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", cls.code)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_class_has_a_docstring_of_its_own_which_is_the_default_message(cls):
    assert cls.__doc__ is not None
    assert cls.__doc__ != cls.__base__.__doc__


def test_only_a_branch_and_its_own_subclasses_share_a_code():
    owners: dict[str, type[MusProjError]] = {}
    for cls in CLASSES:
        if "code" in vars(cls):
            assert owners.setdefault(cls.code, cls) is cls, f"{cls.__name__} takes the code {cls.code}"


@pytest.mark.parametrize("cls", CLASSES)
def test_the_tree_in_the_docstring_shows_every_class(cls):
    assert re.search(rf"\b{cls.__name__}\b", errors.__doc__ or "")
