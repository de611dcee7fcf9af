import hashlib

import pytest


def test_a_version_comes_back_as_it_went_in(cli, tone, home):
    source = tone()
    asset = cli("upload", source, "-q").out.strip()
    ran = cli("download", asset, "-o", "out.wav", "--json")

    assert ran.code == 0
    assert (home / "out.wav").read_bytes() == source.read_bytes()
    assert ran.json["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (ran.json["path"], ran.json["version"], ran.json["size"]) == ("out.wav", 1, 64044)
    assert [path.name for path in home.glob(".musproj-*")] == []


def test_without_a_name_it_is_named_after_the_asset(cli, asset, home):
    (home / "take.wav").unlink()
    assert cli("download", f"{asset}@1").code == 0
    assert (home / "take.wav").exists()


def test_into_a_folder(cli, asset, home):
    (home / "there").mkdir()
    cli("download", asset, "-o", "there")

    assert (home / "there/take.wav").exists()


def test_a_file_that_is_there_stays_unless_forced(cli, asset, home):
    (home / "out.wav").write_text("mine")
    refused = cli("download", asset, "-o", "out.wav")

    assert refused.code == 5
    assert "--force" in refused.err
    assert (home / "out.wav").read_text() == "mine"
    assert cli("download", asset, "-o", "out.wav", "--force").code == 0
    assert (home / "out.wav").stat().st_size == 64044


def test_a_missing_folder_is_named(cli, asset):
    ran = cli("download", asset, "-o", "no/such/out.wav")

    assert ran.code == 2
    assert "no/such" in ran.err


def test_damaged_bytes_never_get_the_name(cli, asset, home):
    (stored,) = (home / "musproj-data/objects").rglob("source.wav")
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.chmod(0o644)
    stored.write_bytes(content)

    ran = cli("download", asset, "-o", "out.wav")

    assert ran.code in (5, 11), ran.err
    assert not (home / "out.wav").exists()
    assert [path.name for path in home.glob(".musproj-*")] == []


def test_a_missing_object_is_a_problem_of_integrity(cli, asset, home):
    (stored,) = (home / "musproj-data/objects").rglob("source.wav")
    stored.unlink()

    assert cli("download", asset, "-o", "out.wav").code == 11


@pytest.mark.parametrize(
    ("reference", "code"), [("ast_none", 3), ("{}@7", 3), ("{}/none", 3), ("{}@x", 2), ("", 2), ("../etc", 2)]
)
def test_what_is_not_there(cli, asset, reference, code):
    ran = cli("download", reference.format(asset), "-o", "out.wav")

    assert ran.code == code
    assert ran.out == ""


def test_a_name_never_leaves_the_folder(cli, tone, home):
    asset = cli("upload", tone(), "--name", "../../.evil\x1b", "-q").out.strip()
    (home / "take.wav").unlink()
    ran = cli("download", asset, "-q")

    (written,) = ran.lines
    assert "/" not in written
    assert not written.startswith(".")
    assert (home / written).exists()
