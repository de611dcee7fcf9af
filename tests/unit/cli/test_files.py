import os
import stat

import pytest

from musproj.cli import files
from musproj.errors import ConflictError, InvalidError, StorageFullError


def test_a_file_appears_whole(tmp_path):
    target = tmp_path / "out.wav"
    with files.written_whole(target, force=False) as part:
        part.write(b"half")
        assert not target.exists()
        part.write(b"whole")

    assert target.read_bytes() == b"halfwhole"
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


def test_what_fails_half_way_leaves_nothing(tmp_path):
    def half():
        with files.written_whole(tmp_path / "out.wav", force=False) as part:
            part.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        half()

    assert list(tmp_path.iterdir()) == []


def test_a_written_file_has_the_permissions_that_a_shell_would_give(tmp_path):
    before = os.umask(0o027)
    try:
        with files.written_whole(tmp_path / "out.wav", force=False) as part:
            part.write(b"x")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "out.wav").stat().st_mode) == 0o640


def test_a_name_that_was_taken_meanwhile_is_not_replaced(tmp_path):
    target = tmp_path / "out.wav"

    def race():
        with files.written_whole(target, force=False) as part:
            part.write(b"mine")
            target.write_bytes(b"theirs")

    with pytest.raises(ConflictError):
        race()

    assert target.read_bytes() == b"theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


def test_force_replaces(tmp_path):
    target = tmp_path / "out.wav"
    target.write_bytes(b"old")
    with files.written_whole(target, force=True) as part:
        part.write(b"new")

    assert target.read_bytes() == b"new"


def test_a_full_disk_is_told_as_such(tmp_path):
    with pytest.raises(StorageFullError), files.written_whole(tmp_path / "out.wav", force=False):
        raise OSError(28, "No space left on device")

    assert list(tmp_path.iterdir()) == []


def test_other_troubles_name_the_file(tmp_path):
    with (
        pytest.raises(InvalidError, match=r"out\.wav.*too long"),
        files.written_whole(tmp_path / "out.wav", force=False),
    ):
        raise OSError(36, "File name too long")


def test_what_is_no_file_cannot_be_read(tmp_path):
    with pytest.raises(InvalidError, match="There is no file"):
        files.readable(tmp_path / "none")
    with pytest.raises(InvalidError, match="There is no file"):
        files.readable(tmp_path)


def test_each_file_counts_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").touch()

    assert [str(path) for path in files.audio_files(["a.wav", "*.wav", "a.wav"])] == ["a.wav"]
    with pytest.raises(InvalidError):
        files.audio_files([])
