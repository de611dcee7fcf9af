import io
import sys
from datetime import UTC, datetime, timedelta

import pytest

from musproj.cli import references
from musproj.domain.job import JobStatus
from musproj.errors import InvalidError

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ast_1", ("ast_1", None, None)),
        ("ast_1@3", ("ast_1", 3, None)),
        ("ast_1@latest", ("ast_1", "latest", None)),
        ("ast_1@head", ("ast_1", "head", None)),
        ("ast_1@3/vocals", ("ast_1", 3, "vocals")),
        ("ast_1/vocals", ("ast_1", None, "vocals")),
    ],
)
def test_an_asset_may_come_with_version_and_file(text, expected):
    assert references.asset_ref(text) == expected


@pytest.mark.parametrize("text", ["", "@1", "ast 1", "ast_1@", "ast_1@x", "ast_1@-1", "../etc", "ast_1@1@2", "ast_*"])
def test_what_is_no_asset_is_refused(text):
    with pytest.raises(InvalidError):
        references.asset_ref(text)


def test_a_job_id_is_checked_before_a_store_is_asked():
    assert references.job_id("job_1") == "job_1"
    with pytest.raises(InvalidError):
        references.job_id("job:1")


def test_ids_come_from_stdin_and_files_and_only_their_first_word_counts(tmp_path, monkeypatch):
    listed = tmp_path / "list.txt"
    listed.write_text("job_2\tenhance\n\njob_3\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("job_4 x\n"))

    assert list(references.expand(["job_1", f"@{listed}", "-"])) == ["job_1", "job_2", "job_3", "job_4"]


def test_a_list_that_is_not_there_is_a_wrong_usage(tmp_path):
    with pytest.raises(InvalidError, match="Cannot read"):
        list(references.expand([f"@{tmp_path}/none"]))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1.5h", 5_400), ("1d", 86_400), ("2w", 1_209_600)]
)
def test_durations(text, seconds):
    assert references.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-5s", "inf", "nan", "5y", "1e400"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InvalidError):
        references.seconds(text)


def test_since_takes_an_age_or_a_time():
    assert references.since(None, NOW) is None
    assert references.since("1d", NOW) == NOW - timedelta(days=1)
    assert references.since("2026-01-01T00:00:00Z", NOW) == datetime(2026, 1, 1, tzinfo=UTC)
    assert references.since("2026-01-01", NOW).tzinfo is not None


def test_a_choice_names_what_there_is():
    assert references.choice(JobStatus, None, "--status") is None
    assert references.choice(JobStatus, "failed", "--status") is JobStatus.FAILED
    with pytest.raises(InvalidError, match="--status is one of queued, running"):
        references.choice(JobStatus, "dead", "--status")
