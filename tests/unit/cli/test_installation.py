"""What looks at the installation itself: doctor, gc, processors, config."""

import os
import time

import pytest

from musproj.cli.doctor import shown
from musproj.cli.output import Form
from musproj.ports.findings import Finding
from musproj.registry import BUILT_IN, PROCESSORS

# ── doctor ───────────────────────────────────────────────────────────────────────────────────────


def checks(ran):
    return {check["name"]: check for check in ran.json["checks"]}


def test_a_fresh_folder_is_in_order_and_stays_empty(cli, home):
    ran = cli("doctor", "--json")

    assert (ran.code, ran.json["ok"], ran.json["schema"]) == (0, True, "musproj.doctor/1")
    assert {"python", "clock", "file handles", "processors", "data"} <= set(checks(ran))
    assert list(home.iterdir()) == []


def test_an_installation_in_use_is_looked_at_inside(cli, asset):
    found = checks(cli("doctor", "--json"))

    assert {found[name]["status"] for name in ("metadata", "database", "storage", "disk", "workers")} == {"ok"}
    assert "write-ahead log" in found["database"]["detail"]


def test_jobs_that_nobody_will_run_are_told(cli, asset):
    cli("submit", "analyze", asset)
    found = checks(cli("doctor", "--json"))["workers"]

    assert (found["status"], found["fix"]) == ("warning", "musproj work")


def test_a_damaged_database_exits_11_and_names_it(cli, asset, home):
    database = home / "musproj-data/musproj.db"
    content = bytearray(database.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    database.write_bytes(content)
    ran = cli("doctor")

    assert ran.code == 11
    assert any(line.startswith("problem\t") for line in ran.lines)


@pytest.mark.parametrize("columns", [20, 80, 300])
def test_people_read_all_of_what_mends_it_in_any_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    detail, fix = "may evict records " * 9, "redis-cli CONFIG SET maxmemory-policy noeviction"
    lines = shown(Form(for_people=True), [Finding("redis", "problem", detail, fix), Finding("a", "ok", "fine")]).lines

    text = " ".join(" ".join(lines).split())
    assert text == f"✗ redis {detail}→ {fix} ✓ a fine"
    assert all(len(line) <= max(columns, 50) for line in lines)


def test_an_open_door_is_a_problem(cli, monkeypatch):
    monkeypatch.setenv("MUSPROJ_HOST", "0.0.0.0")
    ran = cli("doctor", "-q")

    assert (ran.code, ran.lines) == (11, ["api"])


def test_all_wrong_settings_are_told_at_once_and_no_store_is_opened(cli, monkeypatch, home):
    (home / "musproj.toml").write_text("drain_s = -1\nnonsense = 1\n")
    for name, value in (("PRT", "1"), ("PORT", "many"), ("LOG", "x"), ("API_KEY_FILE", "/no/such/file")):
        monkeypatch.setenv(f"MUSPROJ_{name}", value)
    ran = cli("doctor", "--json")
    found = checks(ran)

    assert ran.code == 11
    wrong = {name for name in found if name.startswith("setting")}
    assert wrong == {"settings", *(f"setting {name}" for name in ("drain_s", "nonsense", "prt", "port", "log"))}
    assert {found[name]["status"] for name in wrong} == {"problem"}
    assert "python" in found
    assert not {"stores", "storage", "data"} & set(found)


def test_right_settings_are_shown_without_their_secrets(cli, monkeypatch):
    monkeypatch.setenv("MUSPROJ_REDIS_URL", "redis://user:canary@127.0.0.1:1/0")
    ran = cli("doctor", "--json")

    assert ran.code == 11, "nobody listens there"
    assert "redis://user:***@127.0.0.1:1/0" in checks(ran)["settings"]["detail"]
    assert "canary" not in ran.out + ran.err


def test_a_processor_that_does_not_load_is_shown(cli, monkeypatch):
    monkeypatch.setenv("MUSPROJ_PROCESSORS", "no.such.module:thing")

    assert cli("doctor").code in (2, 11)


# ── gc ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def purgeable(cli, asset, home, monkeypatch):
    """Delete an asset, and let the time that its objects are kept go by."""
    cli("assets", "delete", asset)
    future = time.time() + 30 * 86_400
    for stored in (home / "musproj-data/objects").rglob("*.wav"):
        os.utime(stored, (1, 1))
    monkeypatch.setattr(time, "time", lambda: future)
    return asset


def test_nothing_is_deleted_unless_it_is_asked_for(cli, purgeable, home):
    ran = cli("gc", "--json")

    assert (ran.code, ran.json["dryRun"], ran.json["freedBytes"]) == (0, True, 0)
    assert [entry["objectKey"] for entry in ran.json["data"]] == [f"assets/{purgeable}/v1/source.wav"]
    assert len(list((home / "musproj-data/objects").rglob("source.wav"))) == 1


def test_what_is_asked_for_is_deleted(cli, purgeable, home):
    ran = cli("gc", "--run", "--json")

    assert (ran.json["dryRun"], ran.json["freedBytes"]) == (False, 64_044)
    assert list((home / "musproj-data/objects").rglob("source.wav")) == []
    assert cli("gc", "--json").json["data"] == []


def test_what_is_in_use_is_no_garbage(cli, asset):
    assert cli("gc", "--run", "--json").json["data"] == []
    assert cli("download", asset, "-o", "out.wav").code == 0


# ── processors ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("words", [["processors"], ["processors", "list"]])
def test_the_processors_are_listed(cli, words):
    there = sorted(BUILT_IN[PROCESSORS])
    assert [line.split("\t")[0] for line in cli(*words).lines] == there
    assert [spec["name"] for spec in cli(*words, "--json").json["data"]] == there
    assert cli(*words, "-q").lines == there


def test_one_is_shown_with_its_parameters(cli):
    shown = cli("processors", "show", "enhance", "--json").json

    assert (shown["publishes"], shown["kind"], shown["movesHead"]) == ("version", "enhanced", True)
    assert shown["params"]["properties"]["targetLufs"]["default"] == -16.0
    (line,) = [line for line in cli("processors", "show", "enhance").lines if line.startswith("-p targetLufs\t")]
    assert "number -40 to -5 LUFS default -16.0" in line


def test_an_unknown_one_names_the_nearest(cli):
    ran = cli("processors", "show", "enhanc")

    assert ran.code == 2
    assert "Did you mean 'enhance'?" in ran.err


# ── config ───────────────────────────────────────────────────────────────────────────────────────


def origins(cli, *words):
    return {entry["name"]: entry for entry in cli("config", "show", "--json", *words).json["data"]}


def test_each_source_overrides_the_next(cli, home, monkeypatch):
    user = home / "home/.config/musproj/config.toml"
    user.parent.mkdir(parents=True)
    assert origins(cli)["MUSPROJ_DATA"]["origin"] == "default"
    user.write_text('data = "from-user"\n')
    assert origins(cli)["MUSPROJ_DATA"]["value"] == "from-user"
    (home / "musproj.toml").write_text('data = "from-folder"\n')
    assert origins(cli)["MUSPROJ_DATA"]["origin"] == "musproj.toml"
    monkeypatch.setenv("MUSPROJ_DATA", "from-environment")
    assert origins(cli)["MUSPROJ_DATA"]["value"] == "from-environment"
    found = origins(cli, "--data", "from-flag")["MUSPROJ_DATA"]
    assert (found["value"], found["origin"]) == ("from-flag", "--data")


def test_no_secret_is_shown(cli, monkeypatch):
    monkeypatch.setenv("MUSPROJ_API_KEY", "canary-7f3a")
    monkeypatch.setenv("MUSPROJ_SIGNING_KEY", "canary-0123456789abcdef")
    monkeypatch.setenv("MUSPROJ_METADATA", "redis://user:canary-pass@host/0")
    for words in (["--origin"], ["--json"], []):
        ran = cli("config", "show", *words)
        assert "canary" not in ran.out + ran.err
        assert "***" in ran.out


def test_check_says_where_it_leads(cli):
    assert cli("config", "check").lines[1] == "metadata\tsqlite:musproj-data/musproj.db"


@pytest.mark.parametrize(
    ("name", "value"), [("MUSPROJ_PRT", "1"), ("MUSPROJ_PORT", "many"), ("MUSPROJ_PORT", "99999"), ("MUSPROJ_LOG", "x")]
)
def test_a_wrong_setting_stops_every_command(cli, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    for words in (["config", "check"], ["jobs", "list"], ["processors"]):
        ran = cli(*words)
        assert (ran.code, ran.out) == (2, "")
        assert "error[configuration]" in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ["jobs", "list"],
        ["upload", "take.wav"],
        ["submit", "analyze", "{}"],
        ["work", "--burst", "--isolation", "inline"],
        ["download", "{}", "-o", "no/such/folder/x.wav"],
        ["doctor"],
        ["gc"],
        ["run", "analyze", "take.wav"],
        ["demo", "none.wav"],
        ["config", "check", "--nonsense"],
    ],
    ids=" ".join,
)
def test_no_secret_is_logged_however_much_is(cli, asset, monkeypatch, words):
    monkeypatch.setenv("MUSPROJ_API_KEY", "canary-7f3a")
    monkeypatch.setenv("MUSPROJ_SIGNING_KEY", "canary-0123456789abcdef0123456789abcdef")
    ran = cli(*(word.format(asset) for word in words), "-vv")

    assert "canary" not in ran.out + ran.err


def test_a_crash_shows_where_but_no_secret(cli, asset, monkeypatch):
    monkeypatch.setenv("MUSPROJ_API_KEY", "canary-7f3a")
    monkeypatch.setattr("musproj.cli.tables.assets", lambda *_: {}["boom"])
    ran = cli("assets", "list", "-vv")

    assert ran.code == 1
    assert "Traceback" in ran.err
    assert "error[internal]: KeyError: 'boom'" in ran.err
    assert "canary" not in ran.err
