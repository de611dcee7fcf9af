"""What gc is told, tombstones, and an unreachable store."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from musproj.domain.asset import GC_GRACE, TOMBSTONE, Asset
from musproj.domain.ids import DEFAULT_OWNER, AssetId
from musproj.domain.job import FailureKind
from musproj.errors import AssetNotFoundError, BackendUnavailableError
from musproj.ports.assets import AssetFilter, GcEntry
from musproj.testing.contract import LedgerContract
from musproj.testing.laws.asset_records import OF_ONE_ASSET
from musproj.testing.laws.asset_versions import attach
from musproj.testing.ledger import Ledger
from musproj.testing.records import new_asset
from musproj.testing.threads import error_of

MOMENT = timedelta(milliseconds=1)


class GarbageLaws(LedgerContract):
    """The list of prefixes to compare."""

    def test_a_prefix_waits_out_the_grace(self, ledger: Ledger) -> None:
        """A worker that lost its job may still be writing there."""
        asset = ledger.ready()
        run = ledger.running(asset)
        number = ledger.reserve(run)
        ledger.release(run, FailureKind.PERMANENT)
        assert ledger.garbage(GC_GRACE - MOMENT) == set()
        assert ledger.garbage(GC_GRACE) == {(asset.asset_id, number)}

    def test_an_entry_stays_until_it_is_done(self, ledger: Ledger) -> None:
        """A collector that dies loses nothing."""
        self.leave_debris(ledger)
        (entry,) = ledger.gc_entries()
        assert list(ledger.gc_entries()) == [entry]
        ledger.assets.gc_done(entry)
        assert list(ledger.gc_entries()) == []
        ledger.assets.gc_done(entry)

    def test_the_oldest_come_first(self, ledger: Ledger) -> None:
        """As many as asked for."""
        made = []
        for _ in range(4):
            made.append(self.leave_debris(ledger))
            ledger.clock.advance(60)
        entries = ledger.assets.gc_due(ledger.now + GC_GRACE, limit=3)
        assert [(entry.asset_id, entry.version) for entry in entries] == made[:3]
        assert [entry.due_at for entry in entries] == sorted(entry.due_at for entry in entries)

    def test_entries_are_paged_whether_they_stay_or_go(self, ledger: Ledger) -> None:
        """By time, asset and version; several are of one moment, some of one asset."""
        asset = ledger.ready()
        made = [self.leave_debris(ledger, of) for of in (asset, ledger.ready(), asset, ledger.ready(), asset)]
        seen: list[GcEntry] = []
        while page := ledger.assets.gc_due(ledger.now + GC_GRACE, limit=2, after=seen[-1] if seen else None):
            assert len(page) <= 2
            seen += page
            ledger.assets.gc_done(page[-1])
        assert sorted((entry.asset_id, entry.version) for entry in seen) == sorted(made)
        assert seen == sorted(seen, key=lambda entry: (entry.due_at, entry.asset_id, entry.version))

    def test_what_was_listed_anew_meanwhile_stays(self, ledger: Ledger) -> None:
        """The collector has looked before the new debris was there."""
        asset = ledger.ready()
        attach(ledger, asset)
        attach(ledger, asset)
        (seen,) = ledger.gc_entries()
        ledger.clock.advance(60)
        attach(ledger, asset)
        ledger.assets.gc_done(seen)
        assert ledger.garbage() == {(asset.asset_id, 1)}

    def leave_debris(self, ledger: Ledger, asset: Asset | None = None) -> tuple[str, int]:
        """Let a job fail that has reserved a number; return its prefix."""
        run = ledger.running(asset or ledger.ready())
        number = ledger.reserve(run)
        ledger.release(run, FailureKind.PERMANENT)
        return run.job.asset_id, number


class TombstoneLaws(LedgerContract):
    """From the tombstone to nothing."""

    def test_a_tombstone_is_due_at_its_purge(self, ledger: Ledger) -> None:
        """Not before; nothing that lives ever is."""
        asset, _, _ = ledger.ready(), ledger.ready(), ledger.pending()
        deleted = ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now)
        assert list(ledger.assets.tombstones(ledger.now + TOMBSTONE - MOMENT, limit=10)) == []
        assert list(ledger.assets.tombstones(ledger.now + TOMBSTONE, limit=10)) == [deleted]
        assert list(ledger.assets.tombstones(ledger.now + timedelta(days=365), limit=10)) == [deleted]

    def test_as_many_tombstones_as_asked_for(self, ledger: Ledger) -> None:
        """Each is handed out until it is purged."""
        made = [ledger.ready() for _ in range(3)]
        for asset in made:
            ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now)
        later = ledger.now + TOMBSTONE
        seen: set[AssetId] = set()
        while due := ledger.assets.tombstones(later, limit=2):
            assert len(due) <= 2
            for asset in due:
                seen.add(asset.asset_id)
                ledger.assets.purge(asset.asset_id)
        assert seen == {asset.asset_id for asset in made}

    def test_tombstones_are_paged_whether_they_stay_or_go(self, ledger: Ledger) -> None:
        """By the time of their purge and id, so that a dry run sees all of them."""
        made = [ledger.ready() for _ in range(5)]
        for asset in reversed(made):
            ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now)
            if asset is made[3]:
                ledger.clock.advance(60)
        seen: list[Asset] = []
        while page := ledger.assets.tombstones(ledger.now + TOMBSTONE, limit=2, after=seen[-1] if seen else None):
            assert len(page) <= 2
            seen += page
            ledger.assets.purge(page[-1].asset_id)
        expected = [made[3], made[4], *made[:3]]
        assert [asset.asset_id for asset in seen] == [asset.asset_id for asset in expected]

    def test_a_purged_asset_is_gone_its_jobs_stay(self, ledger: Ledger) -> None:
        """Every record of it, for every reader."""
        asset = ledger.ready()
        job = ledger.publish(asset)
        attach(ledger, asset)
        ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now)
        ledger.assets.purge(asset.asset_id)
        for method in ("get", "versions", "version", "attachments", "undelete"):
            with pytest.raises(AssetNotFoundError):
                OF_ONE_ASSET[method](ledger, DEFAULT_OWNER, asset.asset_id)
        assert ledger.assets.listed_keys(asset.asset_id, 1) == frozenset()
        assert ledger.all_assets() == []
        assert list(ledger.assets.tombstones(ledger.now + timedelta(days=365), limit=10)) == []
        assert ledger.job(job) == job
        assert ledger.jobs.get(DEFAULT_OWNER, job.job_id) == job

    def test_only_a_deleted_asset_is_purged(self, ledger: Ledger) -> None:
        """One whose deletion was taken back meanwhile stays; of an unknown one, nothing happens."""
        asset = ledger.ready()
        ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now)
        ledger.assets.undelete(DEFAULT_OWNER, asset.asset_id)
        ledger.assets.purge(asset.asset_id)
        assert ledger.numbers(asset) == [1]
        ledger.assets.purge(new_asset(ledger.now).asset_id)


class AssetBackendLaws(LedgerContract):
    """Other handles, and a store that cannot be reached."""

    def test_another_handle_sees_everything(self, ledger: Ledger, again: Ledger) -> None:
        """Durable on return."""
        asset = ledger.ready(name="durable")
        ledger.publish(asset, moves_head=True)
        attachment = attach(ledger, asset)
        assert again.asset(asset) == ledger.asset(asset)
        assert again.numbers(asset) == [1, 2]
        assert again.assets.version(DEFAULT_OWNER, asset.asset_id, 2) == ledger.assets.version(
            DEFAULT_OWNER, asset.asset_id, 2
        )
        assert list(again.assets.attachments(DEFAULT_OWNER, asset.asset_id, 1)) == [attachment]

    def test_an_unreachable_store_is_told_as_such(self, ledger: Ledger, cut_off: Ledger) -> None:
        """By every method."""
        asset_id = new_asset(ledger.now).asset_id
        entry = GcEntry(asset_id=asset_id, version=2, due_at=ledger.now)
        of_all: dict[str, Callable[[Ledger], object]] = {
            "create": lambda it: it.assets.create(new_asset(it.now)),
            "list": lambda it: it.assets.list(DEFAULT_OWNER, AssetFilter(), limit=10),
            "find_reuse": lambda it: it.assets.find_reuse(DEFAULT_OWNER, "key"),
            "uploads_to_look_at": lambda it: it.assets.uploads_to_look_at(it.now, limit=10),
            "forget_upload": lambda it: it.assets.forget_upload(asset_id),
            "gc_due": lambda it: it.assets.gc_due(it.now, limit=10),
            "gc_done": lambda it: it.assets.gc_done(entry),
            "tombstones": lambda it: it.assets.tombstones(it.now, limit=10),
            "purge": lambda it: it.assets.purge(asset_id),
            "listed_keys": lambda it: it.assets.listed_keys(asset_id, 1),
        }
        calls = {name: partial(call, cut_off) for name, call in of_all.items()}
        calls |= {name: partial(call, cut_off, DEFAULT_OWNER, asset_id) for name, call in OF_ONE_ASSET.items()}
        silent = [name for name, call in calls.items() if error_of(call, BackendUnavailableError) is None]
        assert silent == []
