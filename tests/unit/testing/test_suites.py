"""The suites themselves: nothing is hidden, a lacking power is told, and what is broken is found."""

from collections import Counter
from datetime import timedelta

import attrs
import pytest

from musproj.adapters.memory import MemoryAssetStore, MemoryJobQueue, MemoryJobStore, MemoryState, MemoryStorage
from musproj.adapters.memory.accounts import MemoryAccounts
from musproj.adapters.memory.feed import MemoryFeed
from musproj.domain.ledger import Committed, Granted, Rules
from musproj.errors import ObjectMissingError
from musproj.ports.jobs import Created
from musproj.testing import contract
from musproj.testing.clock import FakeClock
from musproj.testing.jobs import JobStoreContract
from musproj.testing.ledger import Ledger
from musproj.testing.metadata import AssetStoreContract
from musproj.testing.queue import JobQueueContract
from musproj.testing.signed import SignedUrlsContract
from musproj.testing.storage_contract import KEY, StorageContract, put

SUITES = (AssetStoreContract, JobStoreContract, JobQueueContract, StorageContract, SignedUrlsContract)


@pytest.mark.parametrize("suite", SUITES)
def test_no_law_hides_another_of_the_same_name(suite):
    names = Counter(name for base in suite.__mro__ for name in vars(base) if name.startswith("test"))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("suite", SUITES)
def test_every_law_is_told_in_a_sentence(suite):
    assert [name for name in dir(suite) if name.startswith("test") and not getattr(suite, name).__doc__] == []


def test_a_lacking_power_is_skipped_with_its_reason():
    with pytest.raises(pytest.skip.Exception, match=r"not given by this adapter's fixture: Ledger\.again"):
        contract.need(None, "Ledger.again: it cannot be opened a second time")
    assert contract.need(1, "unused") == 1


def test_a_feed_that_says_nothing_is_found(monkeypatch):
    monkeypatch.setattr(contract, "HEARING_SECONDS", 0.05)
    assert not contract.tells_of(MemoryFeed(lambda: 0), lambda: None)


class ForgetfulJobs(MemoryJobStore):
    """Commits a second time instead of telling of the first."""

    def commit(self, job_id, token, publication):
        answer = super().commit(job_id, token, publication)
        return attrs.evolve(answer, again=False) if isinstance(answer, Committed) else answer


class GenerousJobs(MemoryJobStore):
    """Gives a number back when its job ends."""

    def release(self, job_id, token, failure):
        number = self._state.jobs[job_id].reserved_version
        answer = super().release(job_id, token, failure)
        job = self._state.jobs[job_id]
        if number and job.is_terminal:
            asset = self._state.assets[job.asset_id]
            self._state.save_asset(attrs.evolve(asset, sequence=number - 1))
        return answer


class HastyJobs(MemoryJobStore):
    """Knows no outages."""

    def tick(self):
        self._state.last_tick = self._clock.now()
        return super().tick()


class TrustingJobs(MemoryJobStore):
    """Looks at nobody's owner when a job is submitted."""

    def submit(self, job, idempotency=None, *, paid=False):
        self._state.save_job(job, self._clock.now())
        return Created(job)


class GreedyQueue(MemoryJobQueue):
    """Hands out what its worker cannot run."""

    def claim(self, worker):
        able = frozenset(job.type for job in self._state.jobs.values())
        return super().claim(attrs.evolve(worker, types=able, limits={}))


class RepeatingQueue(MemoryJobQueue):
    """Hands a delivery out twice, and grants it twice."""

    last: Granted | None = None

    def claim(self, worker):
        self.last = super().claim(worker) or self.last
        return self.last


class LeakyAssets(MemoryAssetStore):
    """Shows the assets of others."""

    def get(self, owner, asset_id):
        asset = self._state.assets.get(asset_id)
        return asset or super().get(owner, asset_id)


class ImpatientAssets(MemoryAssetStore):
    """Tells gc of debris while its worker may still be writing."""

    def gc_due(self, now, *, limit, after=None):
        return super().gc_due(now + timedelta(hours=1), limit=limit, after=after)


def open_broken(clock, rules, *, assets=MemoryAssetStore, jobs=MemoryJobStore, queue=MemoryJobQueue):
    state = MemoryState()
    return Ledger(
        clock=clock,
        rules=rules,
        assets=assets(state, clock),
        jobs=jobs(state, clock, rules),
        queue=queue(state, clock, rules),
        accounts=MemoryAccounts(state, clock),
    )


@pytest.mark.parametrize(
    ("suite", "law", "broken"),
    [
        (JobStoreContract, "test_a_commit_is_repeatable", {"jobs": ForgetfulJobs}),
        (JobStoreContract, "test_a_number_is_never_given_back", {"jobs": GenerousJobs}),
        (JobStoreContract, "test_of_8_ticks_after_an_outage_one_prolongs", {"jobs": HastyJobs}),
        (JobStoreContract, "test_a_foreign_input_is_an_unknown_one", {"jobs": TrustingJobs}),
        (JobStoreContract, "test_32_twins_are_one", {"jobs": TrustingJobs}),
        (JobQueueContract, "test_a_worker_gets_only_what_it_can_run", {"queue": GreedyQueue}),
        (JobQueueContract, "test_a_full_processor_is_left_out", {"queue": GreedyQueue}),
        (JobQueueContract, "test_a_claim_begins_the_job", {"queue": RepeatingQueue}),
        (AssetStoreContract, "test_a_prefix_waits_out_the_grace", {"assets": ImpatientAssets}),
    ],
)
def test_a_broken_store_is_found(suite, law, broken):
    clock = FakeClock()
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(suite(), law)(open_broken(clock, Rules(), **broken))


def test_a_leak_is_found():
    ledger = open_broken(FakeClock(), Rules(), assets=LeakyAssets)
    with pytest.raises(pytest.fail.Exception):
        AssetStoreContract().test_a_foreign_id_is_an_unknown_id(ledger, "get", ledger.ready().status)


@pytest.mark.parametrize(
    ("suite", "law"),
    [
        (AssetStoreContract, "test_two_sweeps_never_get_the_same_asset"),
        (JobStoreContract, "test_threads_never_get_the_same_number"),
        (JobStoreContract, "test_of_8_ticks_one_finds_it"),
        (JobQueueContract, "test_8_workers_share_100_jobs"),
    ],
)
def test_a_missing_lock_is_found(suite, law):
    """Within a few runs, or the suites' threads are too calm."""
    assert any(_breaks(suite, law) for _ in range(100))


def _breaks(suite, law):
    state = MemoryState()
    state.lock = _NoLock()
    clock, rules = FakeClock(), Rules()
    ledger = Ledger(
        clock=clock,
        rules=rules,
        assets=MemoryAssetStore(state, clock),
        jobs=MemoryJobStore(state, clock, rules),
        queue=MemoryJobQueue(state, clock, rules),
        accounts=MemoryAccounts(state, clock),
    )
    try:
        getattr(suite(), law)(ledger)
    except Exception:  # noqa: BLE001 - without a lock anything may happen
        return True
    return False


class _NoLock:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


class OverwritingStorage(MemoryStorage):
    """The last writer wins."""

    def _refuse_taken(self, key):
        self._blobs.pop(key, None)


class ShortStorage(MemoryStorage):
    """Keeps what came, however little."""

    def put(self, key, source, *, size, **facts):
        content = source.read()
        return super().put(key, _bytes(content), size=len(content), **facts)


class LoosePrefixStorage(MemoryStorage):
    """Takes a prefix for a folder's beginning."""

    def list(self, prefix):
        return super().list(prefix.rstrip("/"))


def _bytes(content):
    import io

    return io.BytesIO(content)


@pytest.mark.parametrize(
    ("law", "storage", "facts"),
    [
        ("test_of_16_racing_writers_one_wins", OverwritingStorage, ()),
        ("test_an_object_is_never_replaced", OverwritingStorage, ()),
        ("test_another_length_than_announced_leaves_nothing", ShortStorage, (10, 9)),
        ("test_list_takes_the_prefix_literally", LoosePrefixStorage, ()),
    ],
)
def test_a_broken_storage_is_found(law, storage, facts):
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(StorageContract(), law)(storage(), *facts)


def test_a_forgotten_fixture_says_which():
    for fixture in (contract.LedgerContract.open_ledger, StorageContract.storage):
        with pytest.raises(NotImplementedError, match="override the fixture"):
            fixture.__wrapped__(None)


def test_the_memory_storage_may_do_without_a_clock():
    storage = MemoryStorage()
    put(storage, KEY, b"1")
    assert storage.stat(KEY).modified_at is None
    storage.delete(KEY)
    with pytest.raises(ObjectMissingError):
        storage.stat(KEY)
