import io
import json
import sys

import pytest

from musproj import DEFAULT_OWNER, MusProj


@pytest.fixture
def work(cli):
    """Run everything that waits, in this process."""
    return lambda: cli("work", "--burst", "--isolation", "inline", "--json")


@pytest.fixture
def job(cli, asset):
    """Submit a job and give its id."""
    return cli("submit", "analyze", asset, "-q").out.strip()


def test_a_submitted_job_waits_with_its_parameters_filled_in(cli, asset):
    ran = cli("submit", "enhance", asset, "-p", "targetLufs=-18", "-p", "bits=16", "--json")

    assert (ran.code, ran.json["schema"], ran.json["status"]) == (0, "musproj.job/1", "queued")
    assert ran.json["inputVersion"] == 1
    assert (ran.json["params"]["targetLufs"], ran.json["params"]["bits"]) == (-18.0, 16)
    assert "musproj work" in ran.err, "nobody would run it"


def test_snake_case_parameters_serve_too(cli, asset):
    assert cli("submit", "enhance", asset, "-p", "target_lufs=-18", "--json").json["params"]["targetLufs"] == -18.0


def test_a_wrong_parameter_names_the_nearest(cli, asset):
    ran = cli("submit", "enhance", asset, "-p", "targetLuf=-18", "-p", "bits=7", "--json")

    assert (ran.code, ran.out) == (2, "")
    assert ran.error["code"] == "invalid_params"
    assert [place["pointer"] for place in ran.error["errors"]] == ["/params/targetLuf", "/params/bits"]
    assert "did you mean targetLufs?" in ran.error["message"]


def test_an_identical_live_job_is_that_job_unless_forced(cli, asset, job):
    assert cli("submit", "analyze", asset, "-q").out.strip() == job
    assert cli("submit", "analyze", asset, "-q", "--force").out.strip() != job


def test_a_key_makes_one_job_and_never_another(cli, asset):
    first = cli("submit", "analyze", asset, "--idempotency-key", "k", "--force", "-q")
    again = cli("submit", "analyze", asset, "--idempotency-key", "k", "--force", "-q")
    other = cli("submit", "enhance", asset, "--idempotency-key", "k")

    assert again.out == first.out
    assert other.code == 5
    assert "idempotency_mismatch" in other.err


def test_a_key_for_several_assets_is_refused(cli, asset):
    assert cli("submit", "analyze", asset, asset, "--idempotency-key", "k").code == 2


@pytest.mark.parametrize("version", ["1", "head", "latest"])
def test_a_version_can_be_named(cli, asset, version):
    assert cli("submit", "analyze", f"{asset}@{version}", "--json").json["inputVersion"] == 1


def test_a_file_of_the_version_can_be_named(cli, asset):
    assert cli("submit", "analyze", f"{asset}/source", "--json").json["inputFile"] == "source"
    assert cli("submit", "analyze", f"{asset}/vocals").code == 3


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["none", "{}"], 2, "unknown_job_type"),
        (["analyze", "ast_none"], 3, "asset_not_found"),
        (["analyze", "{}@9"], 3, "version_not_found"),
        (["analyze", "{}", "--input", "other={}"], 2, "validation_failed"),
        (["analyze", "{}", "--input", "nonsense"], 2, "validation_failed"),
        (["analyze"], 2, "validation_failed"),
        (["analyze", "{}", "-p", "nonsense"], 2, "invalid_params"),
        (["analyze", "{}", "--priority", "top"], 2, "validation_failed"),
        (["analyze", "{}", "--timeout", "soon"], 2, "validation_failed"),
    ],
)
def test_what_cannot_be_submitted(cli, asset, words, code, error):
    ran = cli("submit", *(word.format(asset) for word in words), "--json")

    assert (ran.code, ran.out, ran.error["code"]) == (code, "", error)


def test_a_list_makes_a_job_for_each_that_can_have_one(cli, asset, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{asset}\ttake.wav\nast_none\n"))
    ran = cli("submit", "analyze", "-", "--json")

    assert ran.code == 6
    assert [job["assetId"] for job in ran.json["data"]] == [asset]
    assert ran.err.count("asset_not_found") == 1


def test_a_job_is_run_and_shows_its_result(cli, job, work):
    assert work().json["succeeded"] == 1
    shown = cli("jobs", "show", job, "--json").json

    assert (shown["status"], shown["progress"], shown["attemptLog"]) == ("succeeded", 100, [])
    assert shown["result"]["channels"] == 2
    assert "sampleRate\t16000" in cli("jobs", "show", job).lines


def test_a_finished_job_ends_a_wait_at_once(cli, asset, job, work):
    work()
    ran = cli("jobs", "watch", job, "--json")

    assert (ran.code, ran.json["status"]) == (0, "succeeded")


def test_a_stream_of_changes_ends_with_the_last(cli, job, work):
    work()
    ran = cli("jobs", "watch", job, "--ndjson")

    assert [json.loads(line)["status"] for line in ran.lines] == ["succeeded"]


def test_a_wait_ends_with_124_when_its_time_is_over(cli, asset):
    ran = cli("submit", "analyze", asset, "--wait", "--timeout", "0.05", "--json")

    assert (ran.code, ran.json["status"]) == (124, "queued")
    assert f"musproj jobs watch {ran.json['jobId']}" in ran.err


def test_a_failed_job_exits_7_and_can_be_retried(cli, tone, work):
    silent = cli("upload", tone(level=0.0), "-q").out.strip()
    job = cli("submit", "enhance", silent, "-q").out.strip()
    assert work().json["failed"] == 1
    watched = cli("jobs", "watch", job, "--json")
    assert (watched.code, watched.json["error"]["code"]) == (7, "audio_silent")

    again = cli("jobs", "retry", job, "--json").json
    assert again["retryOf"] == job
    assert again["jobId"] != job


def test_a_waiting_job_is_cancelled_at_once(cli, job):
    ran = cli("jobs", "cancel", job, "--json")

    assert (ran.code, ran.json["status"]) == (0, "cancelled")
    assert cli("jobs", "cancel", job).code == 0
    assert cli("jobs", "watch", job).code == 8


def test_a_job_that_has_ended_is_not_cancelled(cli, job, work):
    work()
    ran = cli("jobs", "cancel", job, "--json")

    assert (ran.code, ran.error["code"]) == (5, "job_already_finished")


def test_a_list_can_be_filtered(cli, asset, job):
    assert cli("jobs", "list", "-q").lines == [job]
    assert cli("jobs", "list", "-q", "--asset", asset, "--status", "queued", "--since", "1h").lines == [job]
    assert cli("jobs", "list", "-q", "--status", "failed").lines == []
    assert cli("jobs", "list", "--status", "dead").code == 2
    assert cli("jobs", "list", "--asset", "no id").code == 2


def test_a_waiting_job_says_what_it_waits_for(cli, job):
    assert "waits for\ta worker; `musproj work` starts one" in cli("jobs", "show", job).lines


def test_several_jobs_are_a_list(cli, asset, job):
    other = cli("submit", "enhance", asset, "-q").out.strip()

    assert [shown["jobId"] for shown in cli("jobs", "show", job, other, "--json").json["data"]] == [job, other]


@pytest.mark.parametrize("command", ["show", "watch", "cancel", "retry"])
def test_an_unknown_job_exits_3(cli, command):
    ran = cli("jobs", command, "job_none", "--json")

    assert (ran.code, ran.out, ran.error["code"]) == (3, "", "job_not_found")


PRESET = """
[ringtone]
type = "chain"
params = { steps = [{ type = "normalize", params = { targetLufs = -20.0 } }, { type = "trim", params = { end = 0.5 } }] }
"""


def test_a_preset_of_a_chain_makes_one_version_that_tells_every_step(cli, home, asset, work, monkeypatch):
    (home / "presets.toml").write_text(PRESET)
    monkeypatch.setenv("MUSPROJ_PRESETS", "presets.toml")
    job = cli("submit", "ringtone", asset, "-q").out.strip()

    assert work().code == 0

    shown = cli("jobs", "show", job, "--json").json
    assert (shown["type"], shown["status"], shown["createdVersion"]) == ("chain", "succeeded", 2)
    assert [one["type"] for one in shown["result"]["steps"]] == ["normalize", "trim"]
    (version,) = [one for one in cli("assets", "versions", asset, "--json").json["data"] if one["version"] == 2]
    assert (version["kind"], version["files"][0]["duration"]) == ("trimmed", 0.5)


def test_a_chain_tells_its_steps_in_the_provenance(cli, asset, work):
    steps = '[{"type":"normalize"},{"type":"trim","params":{"end":0.5}}]'
    cli("submit", "chain", asset, "-p", f"steps={steps}")
    work()

    with MusProj.open() as mp:
        provenance = mp.assets.version(DEFAULT_OWNER, asset, 2).provenance
    assert provenance.processor_version == "normalize@1,trim@1"
    assert [(one.processor, one.params.get("end")) for one in provenance.steps] == [("normalize", None), ("trim", 0.5)]


def test_a_preset_runs_on_a_local_file(cli, home, tone, monkeypatch):
    tone()
    (home / "presets.toml").write_text(PRESET)
    monkeypatch.setenv("MUSPROJ_PRESETS", "presets.toml")

    ran = cli("run", "ringtone", "take.wav", "-o", "out.wav", "--json")

    assert (ran.code, ran.json["duration"]) == (0, 0.5)


def test_doctor_finds_presets_that_cannot_run(cli, home, monkeypatch):
    (home / "presets.toml").write_text(
        '[good]\ntype = "enhance"\n[bad]\ntype = "enhance"\nparams = { targetLuf = 1 }\n'
    )
    monkeypatch.setenv("MUSPROJ_PRESETS", "presets.toml")

    findings = {one["name"]: one for one in cli("doctor", "--json").json["checks"]}

    assert findings["preset bad"]["status"] == "problem"
    assert "did you mean targetLufs" in findings["preset bad"]["detail"]
