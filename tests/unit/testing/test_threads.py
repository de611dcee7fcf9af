import sys
import threading

import pytest

from musproj.errors import ConflictError, MusProjError
from musproj.testing.threads import at_once, error_of


def test_all_calls_run_at_the_same_time_and_answer_in_their_order():
    together = threading.Barrier(8, timeout=10)

    def call(number):
        together.wait()
        return number

    assert at_once([lambda number=number: call(number) for number in range(8)]) == list(range(8))


def test_an_error_of_one_call_comes_through_and_the_interpreter_calms_down():
    before = sys.getswitchinterval()
    with pytest.raises(ZeroDivisionError):
        at_once([lambda: 1, lambda: 1 // 0])
    assert sys.getswitchinterval() == before


def test_only_the_expected_error_is_an_answer():
    def fail():
        raise ConflictError

    assert error_of(lambda: 1, MusProjError) is None
    assert isinstance(error_of(fail, MusProjError), ConflictError)
    with pytest.raises(ConflictError):
        error_of(fail, ValueError)
