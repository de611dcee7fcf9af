"""Assets: created, found, listed, changed, deleted."""

from collections.abc import Callable
from datetime import timedelta

import attrs
import pytest

from musproj.domain.asset import TOMBSTONE, AssetStatus, ThenJob, UploadError
from musproj.domain.ids import DEFAULT_OWNER, AssetId, Owner, new_asset_id, new_job_id, new_token
from musproj.domain.job import JobStatus
from musproj.domain.multipart import plan_parts
from musproj.errors import (
    AssetNotFoundError,
    AssetNotReadyError,
    ConflictError,
    IdempotencyMismatchError,
    IllegalTransitionError,
    InvalidCursorError,
    PreconditionFailedError,
    VersionNotFoundError,
)
from musproj.ports.assets import IDEMPOTENCY_LIFE, AssetFilter, Idempotency
from musproj.testing.contract import LedgerContract
from musproj.testing.ledger import Ledger
from musproj.testing.records import SOMEBODY_ELSE, new_asset, new_worker, source_version
from musproj.testing.threads import at_once, error_of

ALL = AssetFilter()
MOMENT = timedelta(milliseconds=1)
TOKEN = new_token()
MALFORMED_CURSORS = ("!", "not a cursor", "ä", "../..", "=")

OF_ONE_ASSET: dict[str, Callable[[Ledger, Owner, AssetId], object]] = {
    "get": lambda it, owner, asset_id: it.assets.get(owner, asset_id),
    "versions": lambda it, owner, asset_id: it.assets.versions(owner, asset_id, limit=10),
    "version": lambda it, owner, asset_id: it.assets.version(owner, asset_id, 1),
    "attachments": lambda it, owner, asset_id: it.assets.attachments(owner, asset_id, 1),
    "rename": lambda it, owner, asset_id: it.assets.rename(owner, asset_id, "mine now"),
    "set_head": lambda it, owner, asset_id: it.assets.set_head(owner, asset_id, 1),
    "delete": lambda it, owner, asset_id: it.assets.delete(owner, asset_id, now=it.now),
    "undelete": lambda it, owner, asset_id: it.assets.undelete(owner, asset_id),
    "renew_upload": lambda it, owner, asset_id: it.assets.renew_upload(owner, asset_id, it.now + timedelta(days=1)),
    "claim_confirm": lambda it, owner, asset_id: it.assets.claim_confirm(
        owner, asset_id, token=TOKEN, now=it.now, until=it.now + timedelta(minutes=1)
    ),
    "confirm": lambda it, owner, asset_id: it.assets.confirm(
        owner, asset_id, source_version(new_asset(it.now, asset_id=asset_id), it.now), []
    ),
    "fail_confirm": lambda it, owner, asset_id: it.assets.fail_confirm(
        owner, asset_id, TOKEN, UploadError("not_audio", "Text.", "e")
    ),
}
"""Each method that a client's request leads to, by its name."""


class CreateLaws(LedgerContract):
    """Creating, and asking for one asset."""

    def test_a_record_comes_back_whole(self, ledger: Ledger) -> None:
        """Every field, unicode and nested values included."""
        asset = new_asset(ledger.now, name="Nürnberg – Take 1 🎤")
        then = ThenJob(
            job_id=new_job_id(ledger.now),
            type="enhance",
            params={"a": [1, 2.5, {"b": "ü"}], "c": True},
            processor_version="1.2.0",
            max_attempts=2,
        )
        asset = asset.with_upload(
            size_bytes=5_000_000_000,
            sha256="0f" * 32,
            filename="Straße.WAV",
            then=(then,),
            multipart=plan_parts(5_000_000_000).with_id("2~/+= " * 50),
        )
        assert ledger.assets.create(asset) == (asset, True)
        assert ledger.asset(asset) == ledger.assets.find(asset.asset_id) == asset

    def test_absent_values_stay_absent(self, ledger: Ledger) -> None:
        """None is not an empty text, and an empty text is not None."""
        for name in (None, ""):
            asset = new_asset(ledger.clock.advance(1), name=name).with_upload(filename=None)
            ledger.assets.create(asset)
            assert ledger.asset(asset) == asset

    def test_an_id_is_taken_once(self, ledger: Ledger) -> None:
        """By whomever; the first record is untouched."""
        asset = ledger.ready()
        for owner in (DEFAULT_OWNER, SOMEBODY_ELSE):
            with pytest.raises(ConflictError):
                ledger.assets.create(new_asset(ledger.now, owner=owner, asset_id=asset.asset_id))
        assert ledger.asset(asset) == asset

    def test_an_idempotency_key_makes_one_asset(self, ledger: Ledger) -> None:
        """The same request again gets the first one's asset, as it is now."""
        key = Idempotency(key="k", body_hash="same")
        first, _ = ledger.assets.create(new_asset(ledger.now), key)
        ledger.assets.rename(first.owner, first.asset_id, "renamed")
        again, is_new = ledger.assets.create(new_asset(ledger.clock.advance(1)), key)
        assert not is_new
        assert again == ledger.asset(first)
        assert len(ledger.assets.list(DEFAULT_OWNER, ALL, limit=10).items) == 1

    def test_an_idempotency_key_is_for_one_request(self, ledger: Ledger) -> None:
        """Another body under the same key is refused and stores nothing."""
        ledger.assets.create(new_asset(ledger.now), Idempotency(key="k", body_hash="one"))
        other = new_asset(ledger.clock.advance(1))
        with pytest.raises(IdempotencyMismatchError):
            ledger.assets.create(other, Idempotency(key="k", body_hash="two"))
        with pytest.raises(AssetNotFoundError):
            ledger.asset(other)

    def test_an_idempotency_key_is_its_owners(self, ledger: Ledger) -> None:
        """Two owners may choose the same key."""
        key = Idempotency(key="k", body_hash="same")
        for owner in (DEFAULT_OWNER, SOMEBODY_ELSE):
            assert ledger.assets.create(new_asset(ledger.now, owner=owner), key)[1]

    def test_an_idempotency_key_is_known_for_a_week(self, ledger: Ledger) -> None:
        """From its first use on; then it makes another asset, of whatever request."""
        key = Idempotency(key="k", body_hash="same")
        first, _ = ledger.assets.create(new_asset(ledger.now), key)
        ledger.clock.advance(IDEMPOTENCY_LIFE - MOMENT)
        assert ledger.assets.create(new_asset(ledger.now), key) == (first, False)
        ledger.clock.advance(MOMENT)
        later = Idempotency(key="k", body_hash="another")
        second, is_new = ledger.assets.create(new_asset(ledger.now), later)
        assert is_new
        assert ledger.assets.create(new_asset(ledger.now), later) == (second, False)

    def test_32_requests_with_one_key_make_one_asset(self, ledger: Ledger) -> None:
        """At one moment."""
        key = Idempotency(key="k", body_hash="same")
        answers = at_once([lambda: ledger.assets.create(new_asset(ledger.now), key)] * 32)
        assert [is_new for _, is_new in answers].count(True) == 1
        assert len({asset.asset_id for asset, _ in answers}) == 1

    @pytest.mark.parametrize("method", OF_ONE_ASSET)
    def test_an_unknown_id_is_not_found(self, ledger: Ledger, method: str) -> None:
        """By any method."""
        with pytest.raises(AssetNotFoundError):
            OF_ONE_ASSET[method](ledger, DEFAULT_OWNER, new_asset_id(ledger.now))

    @pytest.mark.parametrize("method", OF_ONE_ASSET)
    @pytest.mark.parametrize("status", AssetStatus)
    def test_a_foreign_id_is_an_unknown_id(self, ledger: Ledger, method: str, status: AssetStatus) -> None:
        """In any state, and nothing changes."""
        asset = ledger.pending() if status is AssetStatus.PENDING else ledger.ready()
        if status is AssetStatus.DELETED:
            asset = ledger.assets.delete(asset.owner, asset.asset_id, now=ledger.now)
        with pytest.raises(AssetNotFoundError):
            OF_ONE_ASSET[method](ledger, SOMEBODY_ELSE, asset.asset_id)
        assert ledger.asset(asset) == asset


class AssetListLaws(LedgerContract):
    """Lists and their pages."""

    def test_newest_first_in_pages(self, ledger: Ledger) -> None:
        """Each asset once, and the last page says that it is the last."""
        made = [ledger.pending().asset_id for _ in range(6)]
        for limit in (1, 2, 3, 4, 6, 7):
            seen: list[AssetId] = []
            cursor, pages = None, 0
            while pages == 0 or cursor is not None:
                page = ledger.assets.list(DEFAULT_OWNER, ALL, limit=limit, cursor=cursor)
                assert len(page.items) <= limit
                seen += [asset.asset_id for asset in page.items]
                cursor, pages = page.next_cursor, pages + 1
            assert seen == made[::-1]
            assert pages == -(-6 // limit)

    def test_what_happens_meanwhile_shifts_nothing(self, ledger: Ledger) -> None:
        """Assets that are created or deleted between two pages neither repeat nor hide others."""
        made = [ledger.ready() for _ in range(6)]
        page = ledger.assets.list(DEFAULT_OWNER, ALL, limit=2)
        assert [asset.asset_id for asset in page.items] == [made[5].asset_id, made[4].asset_id]
        ledger.ready()
        ledger.assets.delete(DEFAULT_OWNER, made[4].asset_id, now=ledger.now)
        ledger.assets.delete(DEFAULT_OWNER, made[2].asset_id, now=ledger.now)
        page = ledger.assets.list(DEFAULT_OWNER, ALL, limit=2, cursor=page.next_cursor)
        assert [asset.asset_id for asset in page.items] == [made[3].asset_id, made[1].asset_id]

    def test_an_owner_sees_only_their_own(self, ledger: Ledger) -> None:
        """Also where a cursor of another owner is sent."""
        mine = [ledger.pending().asset_id for _ in range(3)]
        theirs = [ledger.pending(SOMEBODY_ELSE).asset_id for _ in range(3)]
        page = ledger.assets.list(SOMEBODY_ELSE, ALL, limit=2)
        assert [asset.asset_id for asset in page.items] == theirs[:0:-1]
        rest = ledger.assets.list(DEFAULT_OWNER, ALL, limit=10, cursor=page.next_cursor)
        assert set(mine).issuperset(asset.asset_id for asset in rest.items)
        assert ledger.assets.list(Owner("nobody"), ALL, limit=10).items == ()

    def test_by_status(self, ledger: Ledger) -> None:
        """Deleted ones only where they are asked for."""
        pending, ready, deleted = ledger.pending(), ledger.ready(), ledger.ready()
        ledger.assets.delete(DEFAULT_OWNER, deleted.asset_id, now=ledger.now)

        def listed(status: AssetStatus | None) -> list[AssetId]:
            page = ledger.assets.list(DEFAULT_OWNER, AssetFilter(status=status), limit=10)
            return [asset.asset_id for asset in page.items]

        assert listed(None) == [ready.asset_id, pending.asset_id]
        assert listed(AssetStatus.PENDING) == [pending.asset_id]
        assert listed(AssetStatus.READY) == [ready.asset_id]
        assert listed(AssetStatus.DELETED) == [deleted.asset_id]

    def test_a_filtered_list_fills_its_pages(self, ledger: Ledger) -> None:
        """What the filter leaves out does not shorten a page."""
        ready = []
        for _ in range(5):
            ready.append(ledger.ready().asset_id)
            ledger.pending()
        first = ledger.assets.list(DEFAULT_OWNER, AssetFilter(status=AssetStatus.READY), limit=3)
        assert [asset.asset_id for asset in first.items] == ready[:1:-1]
        rest = ledger.assets.list(
            DEFAULT_OWNER, AssetFilter(status=AssetStatus.READY), limit=3, cursor=first.next_cursor
        )
        assert [asset.asset_id for asset in rest.items] == ready[1::-1]
        assert rest.next_cursor is None

    def test_by_time(self, ledger: Ledger) -> None:
        """From `created_after` on, up to before `created_before`."""
        made = [ledger.pending() for _ in range(4)]
        between = AssetFilter(created_after=made[1].created_at, created_before=made[3].created_at)
        page = ledger.assets.list(DEFAULT_OWNER, between, limit=10)
        assert [asset.asset_id for asset in page.items] == [made[2].asset_id, made[1].asset_id]

    @pytest.mark.parametrize("cursor", MALFORMED_CURSORS)
    def test_a_malformed_cursor_is_refused(self, ledger: Ledger, cursor: str) -> None:
        """Of assets and of versions."""
        asset = ledger.ready()
        with pytest.raises(InvalidCursorError):
            ledger.assets.list(DEFAULT_OWNER, ALL, limit=10, cursor=cursor)
        with pytest.raises(InvalidCursorError):
            ledger.assets.versions(DEFAULT_OWNER, asset.asset_id, limit=10, cursor=cursor)


class ChangeLaws(LedgerContract):
    """Name, head, tombstone."""

    def test_rename(self, ledger: Ledger) -> None:
        """To any text and back to none; each change is a new revision."""
        asset = ledger.ready(name="before")
        for name in ("after", "", None):
            renamed = ledger.assets.rename(DEFAULT_OWNER, asset.asset_id, name)
            assert renamed == ledger.asset(asset)
            assert (renamed.name, renamed.revision > asset.revision) == (name, True)
            assert attrs.evolve(renamed, name=asset.name, revision=asset.revision) == asset
            asset = renamed

    def test_a_pending_asset_can_be_renamed_a_deleted_one_not(self, ledger: Ledger) -> None:
        """A tombstone only waits."""
        asset = ledger.pending()
        assert ledger.assets.rename(DEFAULT_OWNER, asset.asset_id, "early").name == "early"
        deleted = ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now)
        with pytest.raises(AssetNotReadyError):
            ledger.assets.rename(DEFAULT_OWNER, asset.asset_id, "late")
        assert ledger.asset(asset) == deleted

    def test_a_stale_revision_changes_nothing(self, ledger: Ledger) -> None:
        """By rename, head or delete; the present one passes."""
        asset = ledger.ready()
        stale, asset = asset.revision, ledger.assets.rename(DEFAULT_OWNER, asset.asset_id, "n")
        calls: list[Callable[[int], object]] = [
            lambda revision: ledger.assets.rename(DEFAULT_OWNER, asset.asset_id, "m", revision=revision),
            lambda revision: ledger.assets.set_head(DEFAULT_OWNER, asset.asset_id, 1, revision=revision),
            lambda revision: ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now, revision=revision),
        ]
        for call in calls:
            before = ledger.asset(asset)
            with pytest.raises(PreconditionFailedError):
                call(stale)
            assert ledger.asset(asset) == before
            call(before.revision)
            assert ledger.asset(asset).revision > before.revision

    def test_of_8_changes_to_one_revision_one_wins(self, ledger: Ledger) -> None:
        """At one moment; the name is the winner's."""
        asset = ledger.ready()

        def rename(name: str) -> Callable[[], Exception | None]:
            def call() -> object:
                return ledger.assets.rename(DEFAULT_OWNER, asset.asset_id, name, revision=asset.revision)

            return lambda: error_of(call, PreconditionFailedError)

        errors = at_once([rename(str(number)) for number in range(8)])
        assert errors.count(None) == 1
        assert ledger.asset(asset).name == str(errors.index(None))

    def test_a_pinned_head_stays(self, ledger: Ledger) -> None:
        """Until it is unpinned: then it goes to the newest version whose publication moves heads."""
        asset = ledger.ready()
        ledger.publish(asset, moves_head=True)
        ledger.publish(asset, "separate")
        pinned = ledger.assets.set_head(DEFAULT_OWNER, asset.asset_id, 1)
        assert pinned == ledger.asset(asset)
        assert (pinned.head, pinned.head_pinned, pinned.latest_version) == (1, True, 3)
        ledger.publish(asset, moves_head=True)
        ledger.publish(asset, "separate")
        assert (ledger.asset(asset).head, ledger.asset(asset).latest_version) == (1, 5)
        unpinned = ledger.assets.set_head(DEFAULT_OWNER, asset.asset_id, None)
        assert (unpinned.head, unpinned.head_pinned) == (4, False)
        ledger.publish(asset, moves_head=True)
        assert ledger.asset(asset).head == 6

    def test_an_unpinned_head_goes_to_the_source_where_nothing_moved_it(self, ledger: Ledger) -> None:
        """The source is the first head."""
        asset = ledger.ready()
        ledger.publish(asset, "separate")
        assert ledger.assets.set_head(DEFAULT_OWNER, asset.asset_id, 2).head == 2
        assert ledger.assets.set_head(DEFAULT_OWNER, asset.asset_id, None).head == 1

    def test_a_head_is_a_published_version_of_a_ready_asset(self, ledger: Ledger) -> None:
        """A number that was only reserved is none."""
        asset, pending, deleted = ledger.ready(), ledger.pending(), ledger.ready()
        ledger.assets.delete(DEFAULT_OWNER, deleted.asset_id, now=ledger.now)
        reserved = ledger.reserve(ledger.running(asset))
        for number in (0, reserved, 99):
            with pytest.raises(VersionNotFoundError):
                ledger.assets.set_head(DEFAULT_OWNER, asset.asset_id, number)
        for other in (pending, deleted):
            for unready in (1, None):
                with pytest.raises(AssetNotReadyError):
                    ledger.assets.set_head(DEFAULT_OWNER, other.asset_id, unready)
        assert ledger.asset(asset).head == 1

    def test_a_deleted_asset_is_a_tombstone(self, ledger: Ledger) -> None:
        """It keeps what it was, says when it is purged, and deleting it again changes nothing."""
        asset = ledger.ready(name="gone")
        ledger.publish(asset, moves_head=True)
        asset = ledger.asset(asset)
        now = ledger.clock.advance(60)
        deleted = ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=now)
        assert deleted == ledger.asset(asset) == asset.delete(now)
        assert deleted.purge_at == now + TOMBSTONE
        assert ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.clock.advance(60)) == deleted

    def test_the_tombstone_outlives_every_upload_url(self, ledger: Ledger) -> None:
        """A live URL could create a deleted key again."""
        asset = ledger.pending()
        ledger.assets.renew_upload(DEFAULT_OWNER, asset.asset_id, ledger.now + timedelta(days=30))
        deleted = ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now)
        assert deleted.purge_at is not None
        assert deleted.purge_at >= ledger.now + timedelta(days=31)

    def test_deleting_an_asset_stops_its_jobs(self, ledger: Ledger) -> None:
        """Waiting ones end as cancelled, running ones are told, ended ones and those of others stay."""
        asset, other = ledger.ready(), ledger.ready()
        done, run = ledger.publish(asset), ledger.running(asset)
        waiting = [ledger.submit(asset), ledger.submit(asset, delay=timedelta(hours=1))]
        untouched = ledger.submit(other)
        ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now)
        assert [ledger.job(job).status for job in waiting] == [JobStatus.CANCELLED] * 2
        assert ledger.job(run.job).status is JobStatus.RUNNING
        assert ledger.job(run.job).cancel_requested_at == ledger.now
        assert ledger.job(done) == done
        assert ledger.job(untouched) == untouched
        claimed = ledger.queue.claim(new_worker())
        assert claimed is not None
        assert claimed.job.job_id == untouched.job_id

    def test_a_deletion_can_be_taken_back(self, ledger: Ledger) -> None:
        """Versions, head and numbers are as they were."""
        asset = ledger.ready()
        ledger.publish(asset, moves_head=True)
        gap = ledger.reserve(ledger.running(asset))
        before = ledger.asset(asset)
        ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now)
        after = ledger.assets.undelete(DEFAULT_OWNER, asset.asset_id)
        assert after == ledger.asset(asset)
        assert attrs.evolve(after, revision=before.revision) == before
        assert ledger.numbers(asset) == [1, 2]
        assert after in ledger.assets.list(DEFAULT_OWNER, ALL, limit=10).items
        assert ledger.reserve(ledger.running(asset)) == gap + 1

    def test_only_a_deletion_of_something_can_be_taken_back(self, ledger: Ledger) -> None:
        """Neither of what is not deleted, nor of what never was ready."""
        live, pending, never = ledger.ready(), ledger.pending(), ledger.pending()
        ledger.assets.delete(DEFAULT_OWNER, never.asset_id, now=ledger.now)
        for asset in (live, pending, never):
            before = ledger.asset(asset)
            with pytest.raises(IllegalTransitionError):
                ledger.assets.undelete(DEFAULT_OWNER, asset.asset_id)
            assert ledger.asset(asset) == before
