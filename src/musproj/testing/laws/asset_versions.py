"""Versions, attachments, and what need not be made again."""

import attrs
import pytest

from musproj.domain.asset import Asset
from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import Job
from musproj.domain.ledger import Committed, Granted
from musproj.domain.version import Attachment
from musproj.errors import VersionNotFoundError
from musproj.ports.jobs import Publication
from musproj.testing.contract import LedgerContract
from musproj.testing.ledger import Ledger
from musproj.testing.records import SOMEBODY_ELSE, made_attachment, made_version, new_provenance


class VersionLaws(LedgerContract):
    """What was published is read back."""

    def test_a_version_comes_back_whole(self, ledger: Ledger) -> None:
        """With its provenance and its files in their order."""
        asset = ledger.ready()
        run = ledger.running(asset, "separate", params={"mode": "ü", "nested": {"a": [1, None, 0.25]}})
        names = ("vocals", "instrumental", "accompaniment", "bass")
        publication = ledger.publication(run, ledger.reserve(run), names=names)
        ledger.jobs.commit(run.job.job_id, run.token, publication)
        version = ledger.assets.version(DEFAULT_OWNER, asset.asset_id, 2)
        assert version == publication.version
        assert tuple(file.name for file in version.files) == names
        assert version.primary.name == "vocals"

    def test_facts_that_no_decoder_told_stay_unknown(self, ledger: Ledger) -> None:
        """None is not zero."""
        asset = ledger.ready()
        run = ledger.running(asset)
        version = made_version(asset, run.job, ledger.reserve(run), ledger.now)
        bare = attrs.evolve(version.primary, duration=None, sample_rate=None, channels=None, size_bytes=0)
        version = attrs.evolve(version, files=(bare,), from_version=None)
        ledger.jobs.commit(run.job.job_id, run.token, Publication(version=version))
        assert ledger.assets.version(DEFAULT_OWNER, asset.asset_id, 2) == version

    def test_versions_go_by_number_in_pages(self, ledger: Ledger) -> None:
        """Newest first unless asked otherwise, each once, also while new ones are published."""
        asset = ledger.ready()
        for _ in range(6):
            ledger.publish(asset)
        for oldest_first, expected in ((False, [7, 6, 5, 4, 3, 2, 1]), (True, [1, 2, 3, 4, 5, 6, 7])):
            for limit in (1, 3, 7, 8):
                assert _walk(ledger, asset, limit, oldest_first=oldest_first) == expected
        page = ledger.assets.versions(DEFAULT_OWNER, asset.asset_id, limit=3)
        ledger.publish(asset)
        rest = ledger.assets.versions(DEFAULT_OWNER, asset.asset_id, limit=10, cursor=page.next_cursor)
        assert [version.number for version in rest.items] == [4, 3, 2, 1]

    def test_lists_go_by_number_not_by_time(self, ledger: Ledger) -> None:
        """A slow job publishes its lower number later."""
        asset = ledger.ready()
        slow, fast = ledger.running(asset), ledger.running(asset)
        assert (ledger.reserve(slow), ledger.reserve(fast)) == (2, 3)
        ledger.finish(fast)
        ledger.finish(slow)
        assert ledger.numbers(asset) == [1, 2, 3]

    def test_a_list_leaves_the_provenance_out(self, ledger: Ledger) -> None:
        """Everything else is there."""
        asset = ledger.ready()
        ledger.publish(asset)
        whole = ledger.assets.version(DEFAULT_OWNER, asset.asset_id, 2)
        assert whole.provenance is not None
        page = ledger.assets.versions(DEFAULT_OWNER, asset.asset_id, limit=1)
        assert page.items == (attrs.evolve(whole, provenance=None),)

    def test_a_number_without_a_version_is_not_found(self, ledger: Ledger) -> None:
        """Be it unknown, reserved only, or of a pending asset."""
        asset, pending = ledger.ready(), ledger.pending()
        reserved = ledger.reserve(ledger.running(asset))
        for asset_id, number in ((asset.asset_id, reserved), (asset.asset_id, 99), (pending.asset_id, 1)):
            with pytest.raises(VersionNotFoundError):
                ledger.assets.version(DEFAULT_OWNER, asset_id, number)
            with pytest.raises(VersionNotFoundError):
                ledger.assets.attachments(DEFAULT_OWNER, asset_id, number)
        assert ledger.assets.versions(DEFAULT_OWNER, pending.asset_id, limit=10).items == ()

    def test_listed_keys_are_those_that_records_name(self, ledger: Ledger) -> None:
        """Files and attachments of the one number, whoever owns them."""
        asset = ledger.ready(SOMEBODY_ELSE)
        ledger.finish(ledger.running(asset, "separate"), names=("vocals", "instrumental"))
        attachment = attach(ledger, asset)
        assert ledger.assets.listed_keys(asset.asset_id, 1) == {
            f"assets/{asset.asset_id}/v1/source.wav",
            attachment.file.object_key,
        }
        assert ledger.assets.listed_keys(asset.asset_id, 2) == {
            f"assets/{asset.asset_id}/v2/vocals.wav",
            f"assets/{asset.asset_id}/v2/instrumental.wav",
        }
        assert ledger.assets.listed_keys(asset.asset_id, 3) == frozenset()


class AttachmentLaws(LedgerContract):
    """Files beside a version."""

    def test_an_attachment_comes_back_whole(self, ledger: Ledger) -> None:
        """By name, and only with its own version."""
        asset = ledger.ready()
        ledger.publish(asset)
        assert list(ledger.assets.attachments(DEFAULT_OWNER, asset.asset_id, 1)) == []
        peaks, cover = attach(ledger, asset, "peaks"), attach(ledger, asset, "cover")
        assert list(ledger.assets.attachments(DEFAULT_OWNER, asset.asset_id, 1)) == [cover, peaks]
        assert list(ledger.assets.attachments(DEFAULT_OWNER, asset.asset_id, 2)) == []

    def test_several_come_in_one_commit(self, ledger: Ledger) -> None:
        """All of them."""
        asset = ledger.ready()
        run = ledger.running(asset, "waveform")
        both = tuple(made_attachment(asset, run.job, ledger.now, name) for name in ("a", "b"))
        ledger.jobs.commit(run.job.job_id, run.token, Publication(attachments=both))
        assert tuple(ledger.assets.attachments(DEFAULT_OWNER, asset.asset_id, 1)) == both

    def test_the_latest_of_a_name_replaces(self, ledger: Ledger) -> None:
        """Its version and the asset's numbers stay as they were; the old object's prefix goes to gc."""
        asset = ledger.ready()
        attach(ledger, asset)
        version, before = ledger.assets.version(DEFAULT_OWNER, asset.asset_id, 1), ledger.asset(asset)
        assert ledger.garbage() == set()
        latest = attach(ledger, asset)
        assert list(ledger.assets.attachments(DEFAULT_OWNER, asset.asset_id, 1)) == [latest]
        assert ledger.assets.version(DEFAULT_OWNER, asset.asset_id, 1) == version
        after = ledger.asset(asset)
        for field in ("latest_version", "head", "sequence", "version_count"):
            assert getattr(after, field) == getattr(before, field)
        assert ledger.garbage() == {(asset.asset_id, 1)}
        assert ledger.assets.listed_keys(asset.asset_id, 1) >= {latest.file.object_key}


class ReuseLaws(LedgerContract):
    """What was made of the same bytes in the same way."""

    def test_the_version_made_last_is_found(self, ledger: Ledger) -> None:
        """Of those with the same key; another key finds nothing."""
        first, second = ledger.ready(), ledger.ready()
        key = self.make(ledger, first, "same bytes")
        assert ledger.assets.find_reuse(DEFAULT_OWNER, key) == (first.asset_id, 2)
        assert self.make(ledger, second, "same bytes") == key
        assert ledger.assets.find_reuse(DEFAULT_OWNER, key) == (second.asset_id, 2)
        other = self.make(ledger, first, "other bytes")
        assert ledger.assets.find_reuse(DEFAULT_OWNER, other) == (first.asset_id, 3)
        assert ledger.assets.find_reuse(DEFAULT_OWNER, "no such key") is None

    def test_nobody_finds_what_others_made(self, ledger: Ledger) -> None:
        """Not even of the same bytes."""
        key = self.make(ledger, ledger.ready(SOMEBODY_ELSE), "same bytes")
        assert ledger.assets.find_reuse(DEFAULT_OWNER, key) is None

    def test_what_was_deleted_is_not_offered(self, ledger: Ledger) -> None:
        """Neither as a tombstone nor after the purge."""
        asset = ledger.ready()
        key = self.make(ledger, asset, "same bytes")
        ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now)
        assert ledger.assets.find_reuse(DEFAULT_OWNER, key) is None
        ledger.assets.purge(asset.asset_id)
        assert ledger.assets.find_reuse(DEFAULT_OWNER, key) is None

    def make(self, ledger: Ledger, asset: Asset, text: str) -> str:
        """Publish a version made of the bytes `text`; return its reuse key."""
        run = ledger.running(asset)
        version = made_version(asset, run.job, ledger.reserve(run), ledger.now, text=text)
        answer = ledger.jobs.commit(run.job.job_id, run.token, Publication(version=version))
        assert isinstance(answer, Committed)
        return new_provenance(run.job, text=text).reuse_key


def attach(ledger: Ledger, asset: Asset, name: str = "peaks") -> Attachment:
    """Run a job that makes an attachment."""
    run: Granted = ledger.running(asset, "waveform")
    attachment = made_attachment(asset, run.job, ledger.now, name)
    answer = ledger.jobs.commit(run.job.job_id, run.token, Publication(attachments=(attachment,)))
    assert isinstance(answer, Committed)
    job: Job = answer.job
    assert job.created_version is None
    return attachment


def _walk(ledger: Ledger, asset: Asset, limit: int, *, oldest_first: bool) -> list[int]:
    numbers: list[int] = []
    cursor = None
    while not numbers or cursor is not None:
        page = ledger.assets.versions(
            DEFAULT_OWNER, asset.asset_id, limit=limit, cursor=cursor, oldest_first=oldest_first
        )
        numbers += [version.number for version in page.items]
        cursor = page.next_cursor
    return numbers
