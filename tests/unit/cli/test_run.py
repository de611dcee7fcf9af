import json

import pytest

FACTS = {
    "integratedLufs",
    "maxMomentaryLufs",
    "maxShortTermLufs",
    "loudnessRangeLu",
    "truePeakDbtp",
    "samplePeakDbfs",
    "duration",
    "sampleRate",
    "channels",
}


def test_a_result_is_the_whole_answer_and_nothing_is_stored(cli, tone, home):
    ran = cli("run", "analyze", tone(seconds=4), "--json")

    assert (ran.code, ran.err) == (0, "")
    assert set(ran.json) >= FACTS
    assert "files" not in ran.json
    assert (ran.json["channels"], ran.json["sampleRate"], ran.json["duration"]) == (2, 16_000, 4.0)
    assert [path.name for path in home.iterdir()] == ["take.wav"]


def test_without_json_it_is_lines_of_tabs(cli, tone):
    facts = dict(line.split("\t") for line in cli("run", "analyze", tone()).lines)

    assert facts["channels"] == "2"


def test_a_file_is_written_where_it_is_wanted(cli, tone, home):
    ran = cli("run", "enhance", tone(), "-o", "out.wav", "-p", "targetLufs=-20", "--json")

    assert ran.code == 0
    (file,) = ran.json["files"]
    assert (file["path"], file["size"]) == ("out.wav", (home / "out.wav").stat().st_size)
    assert ran.json["outputLufs"] == pytest.approx(-20, abs=0.2)
    assert cli("run", "enhance", "take.wav", "-o", "other.wav", "-q").out == "other.wav\n"


def test_a_file_that_is_there_stays_unless_forced(cli, tone, home):
    (home / "out.wav").write_text("mine")

    assert cli("run", "enhance", tone(), "-o", "out.wav").code == 5
    assert (home / "out.wav").read_text() == "mine"
    assert cli("run", "enhance", "take.wav", "-o", "out.wav", "--force").code == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["enhance", "take.wav"], 2),
        (["analyze", "take.wav", "-o", "out.wav"], 2),
        (["none", "take.wav"], 2),
        (["analyze", "none.wav"], 2),
        (["analyze", "."], 2),
        (["analyze", "take.wav", "-p", "nonsense=1"], 2),
        (["analyze", "take.wav", "--input", "other=take.wav"], 2),
        (["analyze", "take.wav", "--input", "take.wav"], 2),
        (["analyze", "bad.wav"], 7),
        (["enhance", "silent.wav", "-o", "out.wav"], 7),
    ],
)
def test_what_cannot_be_run(cli, tone, home, words, code):
    tone()
    tone("silent.wav", level=0.0)
    (home / "bad.wav").write_text("no audio at all")
    ran = cli("run", *words, "--json")

    assert (ran.code, ran.out) == (code, "")
    assert json.loads(ran.err)["error"]["message"]
    assert not (home / "out.wav").exists()


def test_what_the_environment_stores_elsewhere_does_not_matter(cli, tone, monkeypatch):
    monkeypatch.setenv("MUSPROJ_DATA", "/nowhere/at/all")

    assert cli("run", "analyze", tone()).code == 0


def test_a_program_runs_by_its_file(cli, home, tone):
    tone()
    (home / "copy.toml").write_text(
        'name = "copy"\nversion = "1"\nprogram = "cp"\narguments = ["{input}", "{output}"]\n[outputs.copied]\nextension = "wav"\n'
    )

    ran = cli("run", "copy.toml", "take.wav", "-o", "out.wav", "--json")

    assert (ran.code, ran.json["files"][0]["duration"]) == (0, 1.0)
