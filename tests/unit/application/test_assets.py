from datetime import timedelta

import attrs
import pytest

from musproj.application.assets import download_name
from musproj.errors import (
    AssetNotFoundError,
    AssetNotReadyError,
    ConfigurationError,
    FileNotFoundInVersionError,
    PreconditionFailedError,
    VersionNotFoundError,
)

OWNER = "default"


def test_an_asset_is_shown_with_its_versions(world, ready):
    asset = ready(name="Take 1")
    view = world.assets.get(OWNER, asset.asset_id)
    assert (view.asset.name, [v.number for v in view.versions]) == ("Take 1", [1])
    with pytest.raises(AssetNotFoundError):
        world.assets.get("somebody-else", asset.asset_id)


@pytest.mark.parametrize("wanted", [None, 1, "head", "latest"])
def test_a_version_by_number_head_or_latest(world, ready, wanted):
    assert world.assets.version(OWNER, ready().asset_id, wanted).number == 1


def test_a_version_that_is_not_there(world, ready):
    asset = ready()
    for wanted in (2, "newest"):
        with pytest.raises(VersionNotFoundError):
            world.assets.version(OWNER, asset.asset_id, wanted)


def test_a_download_is_signed_with_a_name_and_a_fixed_type(world, ready):
    asset = ready(name="Söng.wav")
    download = world.assets.download(OWNER, asset.asset_id, expires_in=timedelta(minutes=5))
    assert download.signed.url.endswith("?Söng.wav&audio/wav&False")
    assert download.signed.expires_at == world.clock.now() + timedelta(minutes=5)
    long = world.assets.download(OWNER, asset.asset_id, expires_in=timedelta(days=9))
    assert long.signed.expires_at == world.clock.now() + timedelta(hours=24)


def test_no_download_of_a_deleted_asset_or_an_unknown_file(world, ready):
    asset = ready()
    with pytest.raises(FileNotFoundInVersionError, match="source"):
        world.assets.download(OWNER, asset.asset_id, file="vocals")
    world.assets.delete(OWNER, asset.asset_id)
    with pytest.raises(AssetNotReadyError):
        world.assets.download(OWNER, asset.asset_id)
    assert world.assets.undelete(OWNER, asset.asset_id).asset.head == 1
    assert world.assets.find_file(OWNER, asset.asset_id)[0] == 1


def test_a_storage_without_signed_urls_says_so(world, ready):
    asset = ready()
    with pytest.raises(ConfigurationError):
        attrs.evolve(world.assets, signed_urls=None).download(OWNER, asset.asset_id)


def test_rename_and_promote_are_guarded_by_the_revision(world, ready):
    asset = ready()
    renamed = world.assets.rename(OWNER, asset.asset_id, "New", revision=asset.revision).asset
    assert renamed.name == "New"
    with pytest.raises(PreconditionFailedError):
        world.assets.rename(OWNER, asset.asset_id, "Newer", revision=asset.revision)
    assert world.assets.promote(OWNER, asset.asset_id, 1).asset.head_pinned
    assert not world.assets.promote(OWNER, asset.asset_id, None).asset.head_pinned


def test_lists_leave_deleted_assets_out(world, ready):
    kept, gone = ready(), ready()
    world.assets.delete(OWNER, gone.asset_id)
    assert [a.asset_id for a in world.assets.list(OWNER).items] == [kept.asset_id]
    assert [v.number for v in world.assets.versions(OWNER, kept.asset_id).items] == [1]
    assert not world.assets.attachments(OWNER, kept.asset_id)


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("song.wav", 1, "song.wav"),
        ("song.wav", 2, "song-v2-source.wav"),
        ("../../etc/passwd", 1, "passwd.wav"),
        ("C:\\music\\a.b.mp3", 1, "a.b.wav"),
    ],
)
def test_the_name_a_file_is_saved_as(world, ready, name, number, expected):
    asset = ready(name=name)
    assert download_name(asset, number, world.assets.version(OWNER, asset.asset_id, 1).primary) == expected
