import io
import sys

import pytest


def test_a_list_is_newest_first_and_has_no_versions(cli, tone):
    ids = [cli("upload", tone(f"{n}.wav"), "-q").out.strip() for n in range(3)]
    ran = cli("assets", "list", "--json")

    assert ran.json["schema"] == "musproj.assets/1"
    assert [asset["assetId"] for asset in ran.json["data"]] == ids[::-1]
    assert "versions" not in ran.json["data"][0]
    assert "nextCursor" not in ran.json


def test_pages_follow_each_other(cli, tone):
    ids = [cli("upload", tone(f"{n}.wav"), "-q").out.strip() for n in range(3)]
    first = cli("assets", "list", "--limit", "2", "--json").json
    second = cli("assets", "list", "--cursor", first["nextCursor"], "--json").json

    assert [asset["assetId"] for asset in first["data"] + second["data"]] == ids[::-1]
    assert cli("assets", "list", "--all", "-q").lines == ids[::-1]


def test_filters(cli, asset):
    assert cli("assets", "list", "-q", "--status", "pending").lines == []
    assert cli("assets", "list", "-q", "--since", "1h").lines == [asset]
    assert cli("assets", "list", "-q", "--since", "2099-01-01T00:00:00Z").lines == []
    assert cli("assets", "list", "--status", "gone").code == 2
    assert cli("assets", "list", "--since", "yesterday").code == 2
    assert cli("assets", "list", "--limit", "0").code == 2
    assert cli("assets", "list", "--cursor", "nonsense").code == 2


def test_a_fresh_folder_lists_nothing(cli):
    ran = cli("assets", "list")

    assert (ran.code, ran.out) == (0, "")


def test_show_has_the_versions(cli, asset):
    assert cli("assets", "show", asset, "--json").json["versions"][0]["version"] == 1
    assert f"asset\t{asset}" in cli("assets", "show", asset).out


def test_versions_have_a_line_per_file(cli, asset):
    ran = cli("assets", "versions", asset)

    assert ran.out.startswith("v1\tsource\tsource\t1\t16000/2\t64044\t")
    assert cli("assets", "versions", asset, "-q").lines == [f"{asset}@1"]
    assert cli("assets", "versions", asset, "--json").json["data"][0]["files"][0]["size"] == 64044


def test_rename(cli, asset):
    assert cli("assets", "rename", asset, "Take two", "--json").json["name"] == "Take two"
    assert "name" not in cli("assets", "rename", asset, "", "--json").json


def test_promote_and_let_go_again(cli, asset):
    pinned = cli("assets", "promote", asset, "1", "--json").json
    free = cli("assets", "promote", asset, "auto", "--json").json

    assert (pinned["head"], pinned["headPinned"]) == (1, True)
    assert "headPinned" not in free
    assert cli("assets", "promote", asset, "9").code == 3
    assert cli("assets", "promote", asset, "best").code == 2


def test_delete_and_take_it_back(cli, asset, monkeypatch):
    deleted = cli("assets", "delete", asset, "--json").json
    assert deleted["status"] == "deleted"
    assert deleted["purgeAt"] > deleted["createdAt"]
    assert cli("assets", "list", "-q").lines == []

    monkeypatch.setattr(sys, "stdin", io.StringIO(cli("assets", "list", "--status", "deleted").out))
    assert cli("assets", "undelete", "-", "--json").json["status"] == "ready"
    assert cli("assets", "undelete", asset).code == 5


def test_several_go_on_after_one_that_fails(cli, asset):
    ran = cli("assets", "show", asset, "ast_none", "--json")

    assert ran.code == 6
    assert [shown["assetId"] for shown in ran.json["data"]] == [asset]
    assert ran.error["code"] == "asset_not_found"


@pytest.mark.parametrize("command", ["show", "versions", "delete", "undelete"])
def test_an_unknown_asset_exits_3(cli, asset, command):
    ran = cli("assets", command, "ast_none", "--json")

    assert (ran.code, ran.out) == (3, "")
    assert ran.error["code"] == "asset_not_found"
