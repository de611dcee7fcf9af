import json

import pytest


def test_a_file_becomes_a_ready_asset(cli, tone):
    ran = cli("upload", tone(), "--json")

    assert ran.code == 0
    assert ran.err == ""
    assert ran.json["schema"] == "musproj.asset/1"
    assert ran.json["status"] == "ready"
    assert ran.json["name"] == "take.wav"
    (version,) = ran.json["versions"]
    assert version["kind"] == "source"
    assert version["files"][0]["duration"] == 1.0
    assert list(ran.json) == sorted(ran.json)


def test_without_a_terminal_it_is_one_line_of_tabs(cli, tone):
    ran = cli("upload", tone())

    asset, name, seconds, audio, size = ran.out.rstrip("\n").split("\t")
    assert asset.startswith("ast_")
    assert (name, seconds, audio, size) == ("take.wav", "1", "16000/2", "64044")


def test_a_name_can_be_given(cli, tone):
    assert cli("upload", tone(), "--name", "Take one", "--json").json["name"] == "Take one"


def test_a_name_for_two_files_is_refused(cli, tone):
    ran = cli("upload", tone("a.wav"), tone("b.wav"), "--name", "x")

    assert ran.code == 2
    assert ran.out == ""


def test_a_folder_stands_for_the_audio_in_it(cli, tone, home):
    tone("in/b.wav")
    tone("in/deep/a.wav")
    tone("in/.hidden/no.wav")
    (home / "in/notes.txt").write_text("no audio")

    names = [asset["name"] for asset in cli("upload", "in", "--json").json["data"]]

    assert sorted(names) == ["a.wav", "b.wav"]


def test_a_pattern_that_no_shell_expanded_is_expanded(cli, tone):
    tone("one.wav")
    tone("two.wav")

    assert len(cli("upload", "*.wav", "-q").lines) == 2


@pytest.mark.parametrize("nothing", ["*.flac", "empty"])
def test_what_stands_for_nothing_is_an_error(cli, home, nothing):
    (home / "empty").mkdir()
    ran = cli("upload", nothing)

    assert ran.code == 2
    assert "error[validation_failed]" in ran.err


def test_a_file_that_is_not_there_is_named(cli):
    ran = cli("upload", "none.wav")

    assert ran.code == 2
    assert "none.wav" in ran.err


def test_one_that_fails_does_not_stop_the_others(cli, tone, home):
    (home / "bad.wav").write_text("no audio at all")
    ran = cli("upload", "bad.wav", tone("good.wav"), "none.wav", "--json")

    assert ran.code == 6
    assert [asset["name"] for asset in ran.json["data"]] == ["good.wav"]
    failed = [json.loads(line)["error"] for line in ran.err.splitlines()]
    assert [(error["item"], error["code"]) for error in failed] == [
        ("bad.wav", "not_audio"),
        ("none.wav", "validation_failed"),
    ]


def test_what_is_no_audio_exits_7_and_leaves_stdout_empty(cli, home):
    (home / "bad.wav").write_text("no audio at all")
    ran = cli("upload", "bad.wav", "--json")

    assert (ran.code, ran.out) == (7, "")
    assert ran.error["code"] == "not_audio"
    assert ran.error["retryable"] is False


def test_a_stream_has_a_line_per_file(cli, tone):
    ran = cli("upload", tone("a.wav"), tone("b.wav"), "--ndjson")

    assert [json.loads(line)["name"] for line in ran.lines] == ["a.wav", "b.wav"]


def test_paths_can_come_from_a_list_and_may_hold_spaces(cli, tone, home):
    tone("one take.wav")
    (home / "list").write_text("one take.wav\n")

    assert cli("upload", "@list", "--json").json["name"] == "one take.wav"


def test_a_job_can_follow_at_once(cli, tone):
    asset = cli("upload", tone(), "--then", "analyze", "-q").out.strip()

    assert [job["type"] for job in cli("jobs", "list", "--asset", asset, "--json").json["data"]] == ["analyze"]


def test_a_hostile_name_is_shown_and_cannot_steer_the_terminal(cli, tone):
    ran = cli("upload", tone("\x1b[31mred\u202e.wav"))

    assert r"\x1b[31mred\u202e.wav" in ran.out
    assert "\x1b" not in ran.out
