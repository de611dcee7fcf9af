import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from musproj.domain.multipart import MIB, MultipartPlan, plan_parts

GIB, TIB = 1024 * MIB, 1024**2 * MIB


@pytest.mark.parametrize(
    ("size", "part_size", "part_count"),
    [
        (1, 8 * MIB, 1),
        (8 * MIB, 8 * MIB, 1),
        (8 * MIB + 1, 8 * MIB, 2),
        (64 * MIB + 1, 8 * MIB, 9),
        (9_000 * 8 * MIB, 8 * MIB, 9_000),
        (9_000 * 8 * MIB + 1, 9 * MIB, 8_001),
        (5 * TIB, 583 * MIB, 8_993),
    ],
)
def test_parts_are_few_and_of_whole_mebibytes(size, part_size, part_count):
    assert plan_parts(size) == MultipartPlan(part_size=part_size, part_count=part_count)


@given(st.integers(1, 5 * TIB))
@example(9_000 * 8 * MIB + 1)
def test_every_size_is_cut_as_the_stores_take_it(size):
    plan = plan_parts(size)
    last = plan.size_of(plan.part_count, size)
    assert 1 <= plan.part_count <= 9_000
    assert 5 * MIB <= plan.part_size <= 5 * GIB
    assert 1 <= last <= plan.part_size
    assert plan.part_size * (plan.part_count - 1) + last == size
    assert plan.part_count == 1 or plan.size_of(1, size) == plan.part_size


def test_the_first_name_of_an_upload_stays():
    plan = plan_parts(MIB)
    assert plan.with_id("one").with_id("two").upload_id == "one"
    assert plan.upload_id is None
