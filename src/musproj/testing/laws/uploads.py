"""From the upload request to version 1."""

from collections.abc import Callable
from datetime import timedelta

import attrs
import pytest

from musproj.domain.asset import FIRST_LOOK, Asset, AssetStatus, UploadError
from musproj.domain.ids import DEFAULT_OWNER, AssetId
from musproj.domain.job import JobStatus
from musproj.domain.multipart import plan_parts
from musproj.errors import AssetNotFoundError, AssetNotReadyError, IllegalTransitionError
from musproj.testing.contract import LedgerContract
from musproj.testing.ledger import Ledger
from musproj.testing.records import new_job, new_worker, source_version
from musproj.testing.threads import at_once

MINUTE = timedelta(minutes=1)
GIB = 1024**3
NOT_AUDIO = UploadError(code="not_audio", detail="It is text.", etag="abc")


def claim(ledger: Ledger, asset: Asset, token: str) -> str | None:
    """Claim the confirm for a minute; return whose token holds."""
    claimed = ledger.assets.claim_confirm(
        DEFAULT_OWNER, asset.asset_id, token=token, now=ledger.now, until=ledger.now + MINUTE
    )
    assert claimed == ledger.asset(asset)
    return claimed.upload.confirm_token


class ConfirmLaws(LedgerContract):
    """One confirm wins, whoever sends it."""

    def test_a_confirm_publishes_the_source(self, ledger: Ledger) -> None:
        """Version 1, latest and head, and no further look."""
        asset = ledger.pending()
        source = source_version(asset, ledger.now)
        ready, is_first = ledger.assets.confirm(DEFAULT_OWNER, asset.asset_id, source, [])
        assert is_first
        assert ready == ledger.asset(asset) == asset.confirm()
        assert (ready.status, ready.latest_version, ready.head, ready.version_count) == (AssetStatus.READY, 1, 1, 1)
        assert ledger.assets.version(DEFAULT_OWNER, asset.asset_id, 1) == source
        assert ledger.numbers(asset) == [1]

    def test_a_confirm_submits_its_jobs_once(self, ledger: Ledger) -> None:
        """They wait like any other; a second confirm changes nothing."""
        asset = ledger.pending()
        jobs = [new_job(asset, ledger.clock.advance(0.001), kind) for kind in ("enhance", "waveform")]
        ready, _ = ledger.assets.confirm(DEFAULT_OWNER, asset.asset_id, source_version(asset, ledger.now), jobs)
        late = [new_job(asset, ledger.clock.advance(1), "analyze")]
        again = ledger.assets.confirm(DEFAULT_OWNER, asset.asset_id, source_version(asset, ledger.now), late)
        assert again == (ready, False)
        assert [ledger.job(job) for job in jobs] == jobs
        assert ledger.jobs.find(late[0].job_id) is None
        claimed = [ledger.queue.claim(new_worker()) for _ in range(3)]
        assert [run and run.job.job_id for run in claimed] == [jobs[0].job_id, jobs[1].job_id, None]

    def test_identical_jobs_of_a_confirm_are_one(self, ledger: Ledger) -> None:
        """As with any submit, unless they are forced."""
        asset = ledger.pending()
        jobs = [new_job(asset, ledger.clock.advance(0.001), force=force) for force in (False, False, True)]
        ledger.assets.confirm(DEFAULT_OWNER, asset.asset_id, source_version(asset, ledger.now), jobs)
        assert [ledger.jobs.find(job.job_id) for job in jobs] == [jobs[0], None, jobs[2]]

    def test_of_16_confirms_one_wins(self, ledger: Ledger) -> None:
        """All of them see the same ready asset, with one job."""
        asset = ledger.pending()

        def confirm() -> tuple[Asset, bool]:
            job = new_job(asset, ledger.now)
            return ledger.assets.confirm(DEFAULT_OWNER, asset.asset_id, source_version(asset, ledger.now), [job])

        answers = at_once([confirm] * 16)
        assert [is_first for _, is_first in answers].count(True) == 1
        assert {ready.asset_id: ready for ready, _ in answers} == {asset.asset_id: ledger.asset(asset)}
        assert ledger.jobs.counts()[JobStatus.QUEUED] == 1

    def test_a_deleted_asset_is_not_confirmed(self, ledger: Ledger) -> None:
        """And none of its jobs submitted."""
        asset = ledger.pending()
        deleted = ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now)
        job = new_job(asset, ledger.now)
        with pytest.raises(AssetNotReadyError):
            ledger.assets.confirm(DEFAULT_OWNER, asset.asset_id, source_version(asset, ledger.now), [job])
        assert ledger.asset(asset) == deleted
        assert ledger.jobs.find(job.job_id) is None

    def test_a_confirm_needs_no_claim(self, ledger: Ledger) -> None:
        """It is guarded on pending alone: a claim of somebody who died must not hold it up."""
        asset = ledger.pending()
        claim(ledger, asset, "somebody")
        ready, is_first = ledger.assets.confirm(DEFAULT_OWNER, asset.asset_id, source_version(asset, ledger.now), [])
        assert is_first
        assert ready.upload.confirm_token is None


class ConfirmClaimLaws(LedgerContract):
    """Who may record that a confirm failed."""

    def test_a_live_claim_stays(self, ledger: Ledger) -> None:
        """Its own holder may renew it, others wait until it is over."""
        asset = ledger.pending()
        assert claim(ledger, asset, "one") == "one"
        ledger.clock.advance(40)
        assert claim(ledger, asset, "two") == "one"
        assert claim(ledger, asset, "one") == "one"
        ledger.clock.advance(40)
        assert claim(ledger, asset, "two") == "one"
        ledger.clock.advance(20)
        assert claim(ledger, asset, "two") == "two"
        assert ledger.asset(asset).upload.confirm_until == ledger.now + MINUTE

    def test_of_16_claims_one_holds(self, ledger: Ledger) -> None:
        """All see the same token."""
        asset = ledger.pending()

        def call(token: str) -> Callable[[], str | None]:
            def run() -> str | None:
                return ledger.assets.claim_confirm(
                    DEFAULT_OWNER, asset.asset_id, token=token, now=ledger.now, until=ledger.now + MINUTE
                ).upload.confirm_token

            return run

        assert len(set(at_once([call(str(number)) for number in range(16)]))) == 1

    def test_only_a_pending_asset_is_claimed(self, ledger: Ledger) -> None:
        """A ready or deleted one comes back unchanged."""
        ready, deleted = ledger.ready(), ledger.pending()
        ledger.assets.delete(DEFAULT_OWNER, deleted.asset_id, now=ledger.now)
        for asset in (ready, deleted):
            before = ledger.asset(asset)
            claim(ledger, asset, "one")
            assert ledger.asset(asset) == before

    def test_a_failure_is_recorded_under_the_own_claim(self, ledger: Ledger) -> None:
        """The asset stays pending, and a later confirm clears it."""
        asset = ledger.pending()
        claim(ledger, asset, "one")
        failed = ledger.assets.fail_confirm(DEFAULT_OWNER, asset.asset_id, "one", NOT_AUDIO)
        assert failed == ledger.asset(asset)
        assert (failed.status, failed.upload.error) == (AssetStatus.PENDING, NOT_AUDIO)
        ready, _ = ledger.assets.confirm(DEFAULT_OWNER, asset.asset_id, source_version(asset, ledger.now), [])
        assert ready.upload.error is None

    def test_a_failure_without_the_claim_changes_nothing(self, ledger: Ledger) -> None:
        """Neither where nobody has claimed, nor where somebody else took the claim over."""
        asset = ledger.pending()
        assert ledger.assets.fail_confirm(DEFAULT_OWNER, asset.asset_id, "one", NOT_AUDIO) == asset
        claim(ledger, asset, "one")
        ledger.clock.advance(60)
        claim(ledger, asset, "two")
        before = ledger.asset(asset)
        assert ledger.assets.fail_confirm(DEFAULT_OWNER, asset.asset_id, "one", NOT_AUDIO) == before
        assert ledger.asset(asset) == before

    def test_a_late_failure_cannot_undo_a_success(self, ledger: Ledger) -> None:
        """A claim that outlived its time finds the asset ready."""
        asset = ledger.pending()
        claim(ledger, asset, "slow")
        ledger.clock.advance(120)
        ready, _ = ledger.assets.confirm(DEFAULT_OWNER, asset.asset_id, source_version(asset, ledger.now), [])
        assert ledger.assets.fail_confirm(DEFAULT_OWNER, asset.asset_id, "slow", NOT_AUDIO) == ready
        assert ledger.asset(asset) == ready


class SweepLaws(LedgerContract):
    """Uploads that nobody confirmed."""

    def test_a_renewed_url_lives_longer_never_shorter(self, ledger: Ledger) -> None:
        """The record remembers the latest."""
        asset = ledger.pending()
        until = ledger.now + timedelta(days=1)
        for asked, kept in ((until, until), (until - MINUTE, until), (until + MINUTE, until + MINUTE)):
            renewed = ledger.assets.renew_upload(DEFAULT_OWNER, asset.asset_id, asked)
            assert renewed == ledger.asset(asset)
            assert renewed.upload.expires_at == kept

    def test_the_first_upload_in_parts_is_the_asset_s(self, ledger: Ledger) -> None:
        """Of many requests at once one begins it, all see which; a confirm forgets it."""
        asset = ledger.pending()
        asset = ledger.pending(upload=attrs.evolve(asset.upload, size_bytes=GIB, multipart=plan_parts(GIB)))
        assert asset.upload.multipart is not None

        def begin(upload_id: str) -> Callable[[], Asset]:
            return lambda: ledger.assets.renew_upload(
                DEFAULT_OWNER, asset.asset_id, ledger.now + MINUTE, upload_id=upload_id
            )

        named = {seen.upload.multipart for seen in at_once([begin(str(number)) for number in range(16)])}
        assert named == {ledger.asset(asset).upload.multipart}
        assert {plan and attrs.evolve(plan, upload_id=None) for plan in named} == {asset.upload.multipart}
        ready, _ = ledger.assets.confirm(DEFAULT_OWNER, asset.asset_id, source_version(asset, ledger.now), [])
        assert ready.upload.multipart is None

    def test_only_a_pending_upload_is_renewed(self, ledger: Ledger) -> None:
        """A ready or deleted asset has none."""
        ready, deleted = ledger.ready(), ledger.pending()
        ledger.assets.delete(DEFAULT_OWNER, deleted.asset_id, now=ledger.now)
        for asset in (ready, deleted):
            before = ledger.asset(asset)
            with pytest.raises(IllegalTransitionError):
                ledger.assets.renew_upload(DEFAULT_OWNER, asset.asset_id, ledger.now + timedelta(days=9))
            assert ledger.asset(asset) == before

    def test_looks_come_at_doubling_distances(self, ledger: Ledger) -> None:
        """Two minutes after the request, then four, eight, sixteen."""
        asset = ledger.pending()
        for minutes in (2, 4, 8, 16):
            ledger.clock.set(asset.created_at + minutes * MINUTE - timedelta(milliseconds=1))
            assert self.look(ledger) == []
            ledger.clock.advance(0.001)
            assert self.look(ledger) == [asset.asset_id]
            assert self.look(ledger) == []
            assert ledger.asset(asset).upload.next_look == asset.created_at + 2 * minutes * MINUTE

    def test_a_look_that_is_long_overdue_comes_once(self, ledger: Ledger) -> None:
        """After a week of standstill too."""
        asset = ledger.pending()
        ledger.clock.advance(timedelta(days=7))
        assert self.look(ledger) == [asset.asset_id]
        assert self.look(ledger) == []
        next_look = ledger.asset(asset).upload.next_look
        assert next_look is not None
        assert next_look > ledger.now

    def test_only_pending_assets_are_looked_at(self, ledger: Ledger) -> None:
        """A failed check is still pending; its object may yet be replaced by hand."""
        ledger.ready()
        deleted, failed = ledger.pending(), ledger.pending()
        ledger.assets.delete(DEFAULT_OWNER, deleted.asset_id, now=ledger.now)
        claim(ledger, failed, "one")
        ledger.assets.fail_confirm(DEFAULT_OWNER, failed.asset_id, "one", NOT_AUDIO)
        ledger.clock.advance(FIRST_LOOK)
        assert self.look(ledger) == [failed.asset_id]

    def test_two_sweeps_never_get_the_same_asset(self, ledger: Ledger) -> None:
        """Eight at once share what is due, and all of it is handed out."""
        made = [ledger.pending().asset_id for _ in range(40)]
        ledger.clock.advance(FIRST_LOOK)
        shares = at_once([lambda: self.look(ledger, limit=5)] * 8)
        assert sorted(asset_id for share in shares for asset_id in share) == made
        assert {len(share) for share in shares} == {5}

    def test_a_forgotten_upload_is_gone(self, ledger: Ledger) -> None:
        """For good: not found, not listed, not looked at."""
        asset = ledger.pending()
        ledger.assets.forget_upload(asset.asset_id)
        assert ledger.assets.find(asset.asset_id) is None
        with pytest.raises(AssetNotFoundError):
            ledger.asset(asset)
        assert ledger.all_assets() == []
        ledger.clock.advance(FIRST_LOOK)
        assert self.look(ledger) == []
        ledger.assets.forget_upload(asset.asset_id)

    def test_only_a_pending_upload_is_forgotten(self, ledger: Ledger) -> None:
        """One that was confirmed or deleted meanwhile stays."""
        ready, deleted = ledger.ready(), ledger.pending()
        ledger.assets.delete(DEFAULT_OWNER, deleted.asset_id, now=ledger.now)
        for asset in (ready, deleted):
            before = ledger.asset(asset)
            ledger.assets.forget_upload(asset.asset_id)
            assert ledger.asset(asset) == before

    def look(self, ledger: Ledger, limit: int = 10) -> list[AssetId]:
        """Sweep once."""
        return [asset.asset_id for asset in ledger.assets.uploads_to_look_at(ledger.now, limit=limit)]
