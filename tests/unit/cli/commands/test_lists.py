"""Lists that are longer than a page."""

import json

import pytest

from musproj.cli import paging
from musproj.cli.output import Form


@pytest.fixture
def many(cli, asset, monkeypatch):
    monkeypatch.setattr(paging, "PAGE", 2)
    assert cli("submit", "analyze", "-", "--force", stdin=f"{asset}\n" * 5).code == 0
    return 7


def test_all_reads_every_page(cli, many):
    assert len(cli("jobs", "list", "-q", "--all").out.split()) == many
    assert "nextCursor" not in cli("jobs", "list", "--json", "--all").document


def test_a_limit_may_span_pages_and_the_cursor_goes_on(cli, many):
    first = cli("jobs", "list", "--json", "--limit", "3").document
    rest = cli("jobs", "list", "--json", "--limit", "10", "--cursor", first["nextCursor"]).document

    assert [len(first["data"]), len(rest["data"])] == [3, many - 3]
    assert len({job["jobId"] for job in first["data"] + rest["data"]}) == many


@pytest.mark.parametrize(("flags", "count"), [(("--all",), 7), (("--limit", "3"), 3)])
def test_a_stream_has_a_line_per_job(cli, many, flags, count):
    lines = cli("jobs", "list", "--ndjson", *flags).out.splitlines()

    assert len(lines) == count
    assert {json.loads(line)["schema"] for line in lines} == {"musproj.job/1"}


def test_an_asset_beside_a_job_is_shortened_for_people_alone():
    assert Form(for_people=True).id_beside("ast_01m88by7qxg3yt2ak0mmskmc06") == "…mmskmc06"
    assert Form(for_people=False).id_beside("ast_01m88by7qxg3yt2ak0mmskmc06") == "ast_01m88by7qxg3yt2ak0mmskmc06"
