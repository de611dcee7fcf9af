"""A data folder that cannot be used is a problem with a name, not a traceback."""


def test_a_file_in_the_place_of_the_folder_exits_11(cli, folder):
    (folder / "musproj-data").write_text("not a folder")

    result = cli("doctor", "--json")

    assert result.code == 11
    problems = [check for check in result.document["checks"] if check["status"] == "problem"]
    assert {check["name"] for check in problems} <= {"data", "stores"}
    assert result.document["ok"] is False
    assert "musproj-data" in problems[0]["detail"]


def test_its_quiet_form_names_the_problems(cli, folder):
    (folder / "musproj-data").write_text("not a folder")

    result = cli("doctor", "-q")

    assert result.code == 11
    assert set(result.out.split()) <= {"data", "stores"}
    assert result.out
