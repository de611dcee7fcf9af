"""Errors on the wire."""

import inspect
import itertools

import pytest

from musproj import errors
from musproj.errors import InvalidError, MusProjError, Violation
from musproj.http import problems, refusals

CLASSES = [
    value
    for module in (errors, refusals)
    for value in vars(module).values()
    if inspect.isclass(value) and issubclass(value, MusProjError) and value.__module__ == module.__name__
]

OURS = [
    cls
    for cls in CLASSES
    if problems.status_of(cls.code) >= 500 and cls not in (MusProjError, errors.MissingExtraError)
]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_has_a_status_and_a_title(cls):
    assert 400 <= problems.status_of(cls.code) <= 599
    assert problems.TITLES[cls.code]
    assert not problems.TITLES[cls.code].endswith(".")


def test_the_table_has_no_code_that_no_error_has():
    assert set(problems.STATUS) == {cls.code for cls in CLASSES}


def test_a_code_means_one_thing():
    own = [cls for cls in CLASSES if "code" in vars(cls)]

    assert [a for a, b in itertools.combinations(own, 2) if a.code == b.code and a is not b] == []


def test_a_problem_has_what_rfc_9457_says_and_the_code():
    error = InvalidError(
        violations=(Violation("/size", "minimum", "too small"), Violation("limit", "maximum", "too large")),
        hint="Try again.",
        limit="bytes",
        value=1,
        max=2,
        path="/secret",
    )

    document = problems.problem(error, instance="/x", request_id="req_1")

    assert problems.encode(document) == (
        b'{"type":"urn:musproj:problem:validation_failed","title":"The request is wrong","status":422,'
        b'"code":"validation_failed","detail":"/size: too small; limit: too large","instance":"/x",'
        b'"requestId":"req_1","retryable":false,"hint":"Try again.","limit":"bytes","value":1,"max":2,'
        b'"errors":[{"pointer":"/size","code":"minimum","detail":"too small"},'
        b'{"parameter":"limit","code":"maximum","detail":"too large"}]}'
    )


@pytest.mark.parametrize("cls", OURS)
def test_our_own_failures_tell_neither_path_nor_host(cls):
    error = cls("cannot open /var/secret.db on 10.0.0.1", hint="/etc/passwd", asset_id="10.0.0.1")

    text = problems.encode(problems.problem(error, instance="/x", request_id="r")).decode()

    assert "secret" not in text
    assert "10.0.0.1" not in text
    assert "passwd" not in text


def test_a_bug_tells_nothing_of_itself():
    document = problems.problem(ValueError("SELECT * FROM secrets"), instance="/x", request_id="req_1")

    assert (document["status"], document["code"]) == (500, "internal")
    assert "SELECT" not in str(document)
