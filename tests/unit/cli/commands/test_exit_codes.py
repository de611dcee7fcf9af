"""Every error has an exit code, and each code that can be reached is reached here."""

from pathlib import Path

import pytest

from musproj import errors
from musproj.cli.exit_codes import _BY_CLASS, MEANINGS, ExitCode, exit_code
from musproj.errors import MusProjError


def classes(root=MusProjError):
    return [root, *(found for below in root.__subclasses__() for found in classes(below))]


PUBLIC = [kind for kind in classes() if kind.__module__ == errors.__name__]

EXPECTED = {
    errors.AssetNotFoundError: 3,
    errors.ObjectMissingError: 11,
    errors.UploadMissingError: 5,
    errors.InvalidParamsError: 2,
    errors.NotAudioError: 7,
    errors.ChecksumMismatchError: 11,
    errors.JobCancelledError: 8,
    errors.StorageFullError: 9,
    errors.MissingExtraError: 2,
    MusProjError: 1,
}


@pytest.mark.parametrize("kind", PUBLIC)
def test_every_error_class_has_an_exit_code(kind):
    error = kind("library", "extra") if kind is errors.MissingExtraError else kind()

    assert exit_code(error) in MEANINGS
    assert exit_code(error) != ExitCode.OK
    assert kind is MusProjError or exit_code(error) != ExitCode.FAILURE


@pytest.mark.parametrize(("kind", "code"), EXPECTED.items())
def test_the_nearest_class_above_decides(kind, code):
    error = kind("library", "extra") if kind is errors.MissingExtraError else kind()

    assert exit_code(error) == code


def test_the_table_is_shown_by_the_program(cli):
    shown = cli("help", "exit-codes", "--json").document["data"]

    assert {entry["code"]: entry["meaning"] for entry in shown} == {int(code): text for code, text in MEANINGS.items()}
    assert set(_BY_CLASS.values()) <= set(MEANINGS)


# ── one provoked case each ───────────────────────────────────────────────────────────────────────


def test_0_ok(cli):
    assert cli("version").code == 0


def test_1_a_bug(cli, monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: 1 / 0)

    result = cli("version")

    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "error[internal]: ZeroDivisionError: division by zero\n  hint: Run it again with -vv for the traceback.\n"
    )


def test_a_bug_shows_its_traceback_with_vv(cli, monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: 1 / 0)

    result = cli("version", "-vv")

    assert "Traceback (most recent call last)" in result.err
    assert "hint:" not in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("jobs", "nonsense"),
        ("jobs", "list", "--nonsense"),
        ("jobs", "list", "--status", "nonsense"),
        ("jobs", "list", "--limit", "0"),
        ("jobs", "list", "--since", "yesterday"),
        ("jobs", "list", "--cursor", "nonsense"),
        ("jobs", "show", "not an id"),
        ("jobs", "show"),
        ("submit", "nonsense", "ast_01m887fz1marevj8kart6pt10d"),
        ("submit", "enhance", "ast_01m887fz1marevj8kart6pt10d", "-p", "targetLufs=loud"),
        ("submit", "enhance", "ast_01m887fz1marevj8kart6pt10d", "-p", "nonsense=1"),
        ("submit", "enhance", "ast_01m887fz1marevj8kart6pt10d@first"),
        ("submit", "enhance", "ast_01m887fz1marevj8kart6pt10d", "--priority", "low"),
        ("submit", "enhance", "ast_01m887fz1marevj8kart6pt10d", "--input", "reference"),
        ("upload", "missing.wav"),
        ("run", "analyze", "missing.wav"),
        ("processors", "show", "nonsense"),
        ("serve", "--host", "0.0.0.0"),
    ],
)
def test_2_usage(cli, words):
    result = cli(*words)

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error[")


def test_2_settings(cli, monkeypatch):
    monkeypatch.setenv("MUSPROJ_PROT", "8700")

    result = cli("jobs", "list")

    assert result.code == 2
    assert "Did you mean MUSPROJ_PORT?" in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("jobs", "show", "job_01m887fz1marevj8kart6pt10d"),
        ("jobs", "watch", "job_01m887fz1marevj8kart6pt10d"),
        ("assets", "show", "ast_01m887fz1marevj8kart6pt10d"),
        ("download", "ast_01m887fz1marevj8kart6pt10d"),
    ],
)
def test_3_not_found(cli, words):
    assert cli(*words).code == 3


def test_3_no_such_version_or_file(cli, asset):
    assert cli("download", f"{asset}@9").code == 3
    assert cli("download", asset, "--file", "nonsense").code == 3


def test_5_conflict(cli, done_job):
    result = cli("jobs", "retry", done_job)

    assert result.code == 5
    assert result.err.startswith("error[job_not_retryable]: ")


def test_6_partial(cli, take):
    Path("fake.wav").write_bytes(b"nothing of audio")

    assert cli("upload", "take.wav", "fake.wav").code == 6


def test_7_failed(cli, take):
    Path("fake.wav").write_bytes(b"nothing of audio")

    assert cli("upload", "fake.wav").code == 7
    assert cli("run", "analyze", "fake.wav").code == 7


def test_8_cancelled(cli, waiting_job):
    assert cli("jobs", "cancel", waiting_job).code == 0
    assert cli("jobs", "watch", waiting_job).code == 8


def test_9_a_store_that_cannot_be_opened(cli, folder):
    (folder / "musproj-data").write_text("a file where the folder should be")

    result = cli("jobs", "list")

    assert result.code == 9
    assert result.err.startswith("error[backend_unavailable]: ")


def test_11_a_damaged_object(cli, asset):
    next(Path("musproj-data/objects/assets").rglob("source.wav")).write_bytes(b"something else")

    assert cli("download", asset, "-o", "out.wav").code in (5, 11)
    assert not Path("out.wav").exists()


def test_11_a_missing_object(cli, asset):
    next(Path("musproj-data/objects/assets").rglob("source.wav")).unlink()

    assert cli("download", asset, "-o", "out.wav").code == 11
    assert not Path("out.wav").exists()


def test_124_timeout(cli, waiting_job):
    result = cli("jobs", "watch", waiting_job, "--timeout", "0.1s")

    assert result.code == 124
    assert f"musproj jobs watch {waiting_job}" in result.err
