import os
import time
from datetime import UTC, datetime

import attrs
import pytest

from musproj.ports.processor import DEFAULT_MB, AudioInfo, ProcessorSpec
from musproj.testing.records import new_asset, new_job, source_version
from musproj.worker import memory
from musproj.worker.identity import Identity
from musproj.worker.needs import needs_of, time_limit
from musproj.worker.options import WorkerOptions

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASSET = new_asset(NOON)
VERSION = source_version(ASSET, NOON)
MIB = 1 << 20


@attrs.frozen(kw_only=True)
class Params:
    pass


def spec(**changes):
    return ProcessorSpec(**{"name": "x", "version": "1", "params": Params, **changes})


class Records:
    def version(self, owner, asset_id, number):
        return VERSION


def info(seconds):
    frames = None if seconds is None else round(seconds * 8_000)
    return AudioInfo(container="wav", sample_rate=8_000, channels=2, frames=frames, size_bytes=1)


@pytest.mark.parametrize(
    ("changes", "seconds", "limit"),
    [
        ({}, [10.0], 60.0),
        ({"speed": 2.0}, [600.0], 3_000.0),
        ({"speed": 2.0}, [600.0, 60.0], 3_000.0),
        ({"speed": 2.0}, [600.0, None], 3_600.0),
        ({"timeout_seconds": 5.0}, [600.0], 5.0),
        ({}, [], 3_600.0),
    ],
)
def test_the_time_limit_follows_the_longest_input(changes, seconds, limit):
    assert time_limit(spec(**changes), [info(length) for length in seconds]) == limit


@pytest.mark.parametrize(
    ("declared", "mb", "limit_mb"),
    [
        (100, 100, 100 * 1.5 + 256),
        (lambda facts: 10 * facts.channels, 20, 20 * 1.5 + 256),
        (None, DEFAULT_MB, 5_000),
    ],
)
def test_memory_is_what_the_spec_declares_for_this_input(declared, mb, limit_mb):
    needs = needs_of(new_job(ASSET, NOON, params={}), spec(memory_mb=declared), Records(), 5_000)
    assert (needs.memory_mb, needs.limit_bytes) == (mb, limit_mb * MIB)
    assert needs.versions == {(ASSET.asset_id, 1): VERSION}


def identity(*specs):
    return Identity(
        worker_id="h:1:b", host="h", pid=1, abilities=frozenset({"codecs"}), specs={s.name: s for s in specs}
    )


def test_a_worker_asks_only_for_what_fits_into_the_memory_that_is_left():
    me = identity(spec(name="small", memory_mb=10), spec(name="big", memory_mb=90), spec(name="who", memory_mb=len))
    assert me.able(100).types == {"small", "big", "who"}
    assert me.able(50).types == {"small", "who"}
    assert me.able(50).abilities == {"codecs"}


def test_limits_of_processors_go_with_the_claim():
    assert dict(identity(spec(name="one", concurrency=1), spec(name="any")).able(1_000).limits) == {"one": 1}


def test_a_processor_that_cannot_be_loaded_is_told_of_and_harms_no_other(caplog):
    broken = spec(name="broken", preload=("no_such_module_at_all",))
    identity(broken, spec(name="fine", preload=("wave",))).preload()
    assert "no_such_module_at_all" in caplog.text


def test_options_fill_in_what_this_machine_has():
    options = WorkerOptions()
    assert 1 <= options.slots <= (os.cpu_count() or 1)
    assert 100 < options.budget_mb < memory_of_the_host_mb()
    assert WorkerOptions(concurrency=7, isolation="inline").slots == 1
    assert WorkerOptions(memory_mb=123).budget_mb == 123


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"isolation": "thread"}, {"drain_s": -1.0}, {"max_jobs": 0}])
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WorkerOptions(**wrong)


def memory_of_the_host_mb():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / MIB


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # xdist has threads
def test_the_memory_of_a_process_and_its_descendants_is_seen():
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        if not os.fork():
            hoard = bytearray(b"x") * (64 * MIB)
            os.write(writing, b"!")
        time.sleep(30)
        os._exit(len(hoard) if not pid else 0)
    os.read(reading, 1)
    try:
        (grandchild,) = memory.descendants(pid)
        assert memory.group_bytes(pid) > 64 * MIB
        assert memory.children(pid) == [grandchild]
    finally:
        os.kill(grandchild, 9)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)
    assert memory.group_bytes(pid) == 0
