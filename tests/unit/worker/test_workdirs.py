import os
import time
from datetime import UTC, datetime

import attrs
import pytest

from musproj.domain.job import JobStatus
from musproj.testing.records import new_asset, new_job
from musproj.worker.workdirs import OLD_SECONDS, Workdirs, _private_root

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
JOB = attrs.evolve(new_job(new_asset(NOON), NOON), status=JobStatus.RUNNING, token="aa")
"""Running under the token aa."""


@pytest.fixture
def workdirs(tmp_path):
    return Workdirs(tmp_path)


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_run_has_a_private_folder_of_its_own(workdirs):
    path = workdirs.make(JOB.job_id, "aa")
    assert path.name == f"{JOB.job_id}-aa"
    assert path.stat().st_mode & 0o777 == 0o700
    assert [child.name for child in path.iterdir()] == ["tmp"]
    workdirs.remove(JOB.job_id, "aa")
    workdirs.remove(JOB.job_id, "aa")
    assert not path.exists()


def test_the_folder_of_a_run_that_lost_its_job_goes_and_that_of_the_present_one_stays(workdirs):
    present, lost = workdirs.make(JOB.job_id, "aa"), workdirs.make(JOB.job_id, "bb")
    assert workdirs.sweep({JOB.job_id: JOB}.get) == 1
    assert present.exists()
    assert not lost.exists()


def test_the_folder_of_a_job_that_ended_goes(workdirs):
    workdirs.make(JOB.job_id, "aa")
    assert workdirs.sweep({JOB.job_id: attrs.evolve(JOB, status=JobStatus.FAILED)}.get) == 1


def test_the_folder_of_an_unknown_job_may_be_another_installations_until_it_is_a_day_old(workdirs):
    path = workdirs.make(JOB.job_id, "aa")
    assert workdirs.sweep(lambda _: None) == 0
    age(path, OLD_SECONDS + 60)
    assert workdirs.sweep(lambda _: None) == 1


def test_what_is_no_runs_folder_is_let_alone(workdirs, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "a b-c").mkdir()
    age(tmp_path / "a b-c", OLD_SECONDS + 60)
    assert workdirs.sweep(lambda _: None) == 0


def test_a_root_that_somebody_else_can_write_is_not_used(tmp_path):
    (tmp_path / "musproj").mkdir()
    (tmp_path / "musproj").chmod(0o777)
    assert _private_root(tmp_path).name == f"musproj-{os.geteuid()}"


def test_a_root_that_is_a_link_is_not_used(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "musproj").symlink_to(tmp_path / "elsewhere")
    assert _private_root(tmp_path).name == f"musproj-{os.geteuid()}"


def test_without_any_safe_root_a_fresh_one_is_made(tmp_path):
    for name in ("musproj", f"musproj-{os.geteuid()}"):
        (tmp_path / name).write_text("in the way")
    root = _private_root(tmp_path)
    assert root.is_dir()
    assert root.stat().st_mode & 0o777 == 0o700
    root.rmdir()
