"""Outside services on the command line: what a job costs, what doctor finds, and what is said to who has no key."""

from datetime import timedelta

import attrs
import pytest

from musproj import DEFAULT_OWNER, MusProj, Settings
from musproj.domain.remote import Cost, CostState, RemoteFault
from musproj.testing.fakes import FakeServices
from musproj.testing.records import live_worker, new_job, new_op, new_worker

KEY = "key-that-nobody-may-see"


@pytest.fixture(scope="module")
def running_fakes():
    with FakeServices() as fakes:
        yield fakes


@pytest.fixture
def fakes(running_fakes, monkeypatch):
    """Give the fakes, with the settings of an installation that takes them for the services."""
    running_fakes.reset(balance_minutes=12.5, balance_hours=2.25, poll_ticks=1)
    place = running_fakes.url.removeprefix("http://")
    for name, value in {
        "AUPHONIC_URL": running_fakes.auphonic_url,
        "AUPHONIC_KEY": "k",
        "LALAL_URL": running_fakes.lalal_url,
        "LALAL_KEY": "k",
        "PRIVATE_HOSTS": f"{place},localhost:{place.rpartition(':')[2]}",
        "REMOTE_POLL_S": "0.05",
    }.items():
        monkeypatch.setenv(f"MUSPROJ_{name}", value)
    return running_fakes


@pytest.fixture
def opened(home):
    """Give a function that opens the folder's installation."""
    return lambda: MusProj.open(Settings(data=home / "musproj-data"))


@pytest.fixture
def work(cli):
    """Give a function that works until a job has ended: a worker that ends by itself leaves a service to its work."""

    def work(job_id):
        for _ in range(20):
            cli("work", "--burst", "--isolation", "inline")
            found = shown(cli("jobs", "show", job_id))
            if found["status"] in ("succeeded", "failed"):
                return found
        raise AssertionError(found)

    return work


def checks(ran):
    return {check["name"]: check for check in ran.json["checks"]}


def shown(ran):
    return dict(line.split("\t") for line in ran.lines)


# ── what a job costs ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def show(cli, asset, opened):
    """Give a function that stores a job with an operation of that cost, and shows it."""

    def show(cost, *words, **changes):
        with opened() as mp:
            now = mp.clock.now()
            job = new_job(mp.assets.get(DEFAULT_OWNER, asset).asset, now, force=True)
            job = attrs.evolve(job, remote=new_op(job, cost=cost, **changes))
            mp.metadata.jobs.submit(job)
        return cli("jobs", "show", job.job_id, *words)

    return show


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (Cost(unit="minute", estimate=1.5), "1.5 minute by lalal, not billed; estimated"),
        (Cost(unit="minute", estimate=1.5, state=CostState.MAYBE), "1.5 minute by lalal, perhaps billed; estimated"),
        (Cost(unit="minute", estimate=1.5, state=CostState.BILLED), "1.5 minute by lalal, billed; estimated"),
        (Cost(unit="minute", estimate=1.5, actual=2.0, state=CostState.BILLED), "2 minute by lalal, billed"),
        (Cost(unit="minute", estimate=1 / 3), "0.3333 minute by lalal, not billed; estimated"),
        (Cost(unit="minute", estimate=0), "0 minute by lalal, not billed; estimated"),
    ],
)
def test_a_job_tells_what_it_costs_and_how_sure_that_is(show, cost, words):
    assert shown(show(cost, service="lalal"))["cost"] == words


def test_the_wire_tells_it_in_fields(show):
    cost = Cost(unit="credit_hour", estimate=0.05, actual=0.06, state=CostState.BILLED)

    assert show(cost, "--json").json["cost"] == {
        "service": "auphonic", "unit": "credit_hour", "estimate": 0.05, "actual": 0.06, "state": "billed"
    }  # fmt: skip
    assert "actual" not in show(attrs.evolve(cost, actual=None), "--json").json["cost"]


def test_ids_and_addresses_at_the_service_are_nobodys_business(show):
    ids = {"remote_id": "r-canary", "upload_ref": "u-canary", "request_ids": ("q-canary",)}
    for words in ([], ["--json"]):
        ran = show(Cost(unit="minute", estimate=1), *words, **ids)
        assert ran.code == 0
        assert "canary" not in ran.out


def test_a_job_of_this_machine_costs_nothing(cli, asset):
    job_id = cli("submit", "analyze", asset, "-q").out.strip()

    assert "cost" not in shown(cli("jobs", "show", job_id))
    assert "cost" not in cli("jobs", "show", job_id, "--json").json


def test_a_job_is_bought_and_shown_with_what_it_cost(cli, asset, fakes, work):
    found = work(cli("submit", "lalal", asset, "-q").out.strip())

    (bill,) = fakes.state()["bills"]
    assert (found["status"], found["made"]) == ("succeeded", f"{asset}@2")
    assert found["cost"] == f"{bill['units']:.4g} minute by lalal, billed"
    assert fakes.state()["leaks"] == []


# ── doctor ───────────────────────────────────────────────────────────────────────────────────────


def test_doctor_asks_each_service_for_its_balance(cli, asset, fakes):
    ran = cli("doctor", "--json")
    found = checks(ran)

    assert ran.code == 0
    assert (found["lalal"]["status"], found["auphonic"]["status"]) == ("ok", "ok")
    assert found["lalal"]["detail"] == "answers; left: 12.5 minute; jobs there: 0"
    assert found["auphonic"]["detail"] == "answers; left: 2.25 credit_hour; jobs there: 0"
    assert found["services"]["detail"].startswith("httpx ")
    assert fakes.state()["bills"] == []
    assert len(fakes.requests) == 2, "one call each"


def test_without_keys_doctor_calls_nobody(cli, asset):
    assert not {"lalal", "auphonic", "services"} & set(checks(cli("doctor", "--json")))


def test_a_fresh_folder_has_its_services_asked_too_and_stays_empty(cli, fakes, home, monkeypatch):
    monkeypatch.setenv("MUSPROJ_LALAL_KEY", KEY)
    monkeypatch.setenv("MUSPROJ_BUDGET_PER_DAY", "lalal=5,lalai=5")
    ran = cli("doctor", "--json")
    found = checks(ran)

    assert ran.code == 11
    assert (found["auphonic"]["status"], found["auphonic"]["detail"]) == ("ok", "answers; left: 2.25 credit_hour")
    assert (found["lalal"]["status"], found["lalal"]["fix"]) == ("problem", "Look at the key and the account of lalal.")
    assert (found["budgets"]["status"], found["budgets"]["detail"]) == ("warning", "of services without a key: lalai")
    assert KEY not in ran.out + ran.err
    assert len(fakes.requests) == 2, "one call each"
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("is_fresh", [True, False])
def test_a_key_of_a_service_that_is_none_is_a_problem(cli, fakes, monkeypatch, request, is_fresh):
    if not is_fresh:
        request.getfixturevalue("asset")
    monkeypatch.setenv("MUSPROJ_SERVICE_KEYS", "nobody=k")
    ran = cli("doctor", "--json")
    found = checks(ran)

    assert ran.code == 11
    assert (found["nobody"]["status"], found["lalal"]["status"]) == ("problem", "ok")


def test_an_account_with_nothing_left_is_a_problem(cli, asset, fakes):
    fakes.reset(balance_minutes=0)
    ran = cli("doctor", "--json")

    assert ran.code == 11
    assert checks(ran)["lalal"]["status"] == "problem"
    assert checks(ran)["auphonic"]["status"] == "ok"


def test_a_wrong_key_is_a_problem_of_its_service_alone(cli, asset, fakes, monkeypatch):
    monkeypatch.setenv("MUSPROJ_LALAL_KEY", KEY)
    ran = cli("doctor", "--json")
    found = checks(ran)

    assert ran.code == 11
    assert (found["lalal"]["status"], found["auphonic"]["status"]) == ("problem", "ok")
    assert "403" in found["lalal"]["detail"]
    assert found["lalal"]["fix"] == "Look at the key and the account of lalal."
    assert KEY not in ran.out + ran.err


def test_a_service_that_does_not_answer_is_a_problem(cli, asset, fakes):
    fakes.fault(kind="reset", path="minutes_left")
    assert checks(cli("doctor", "--json"))["lalal"]["status"] == "problem"


def test_a_key_that_cannot_be_read_is_a_problem(cli, asset, fakes, monkeypatch, home):
    path = home / "key"
    path.write_text("k\n")
    path.chmod(0o644)
    monkeypatch.setenv("MUSPROJ_LALAL_KEY", f"file:{path}")
    ran = cli("doctor", "--json")
    found = checks(ran)

    assert ran.code == 11
    assert (found["lalal"]["status"], found["lalal"]["fix"]) == ("problem", f"chmod 600 {path}")
    assert "Others can read" in found["lalal"]["detail"]
    assert found["auphonic"]["status"] == "ok"
    path.chmod(0o600)
    assert checks(cli("doctor", "--json"))["lalal"]["status"] == "ok"


def test_an_address_that_is_not_private_is_a_problem(cli, asset, fakes, monkeypatch):
    monkeypatch.setenv("MUSPROJ_PRIVATE_HOSTS", "")
    found = checks(cli("doctor", "--json"))

    assert found["lalal"]["status"] == found["auphonic"]["status"] == "problem"
    assert found["lalal"]["fix"].startswith("A host of your own is allowed by MUSPROJ_PRIVATE_HOSTS=127.0.0.1:")
    assert fakes.requests == []


@pytest.fixture
def pause(opened):
    def pause(account):
        fault = RemoteFault(code="remote_auth", message="The key is wrong.")
        with opened() as mp:
            mp.outside.accounts.pause(account, fault, timedelta(hours=1))

    return pause


@pytest.fixture
def pauses(opened):
    def pauses():
        with opened() as mp:
            return [one.account for one in mp.outside.accounts.pauses()]

    return pauses


def test_an_account_that_answers_again_goes_on(cli, asset, fakes, pause, pauses):
    pause("lalal:default")
    pause("auphonic:other")
    ran = cli("doctor", "--json")
    found = checks(ran)["lalal paused"]

    assert ran.code == 0
    assert (found["status"], found["detail"]) == ("warning", "it was: The key is wrong.")
    assert pauses() == ["auphonic:other"]
    assert "lalal paused" not in checks(cli("doctor", "--json"))


def test_an_account_that_answers_without_its_balance_goes_on_too(cli, asset, fakes, pause, pauses):
    pause("lalal:default")
    fakes.fault(kind="status", path="minutes_left", code=200, body={"minutes_left": None})
    ran = cli("doctor", "--json")
    found = checks(ran)

    assert ran.code == 0
    assert (found["lalal"]["status"], found["lalal paused"]["status"]) == ("warning", "warning")
    assert found["lalal"]["detail"] == "answers, but what is left cannot be read from its answer; jobs there: 0"
    assert pauses() == []


def test_an_account_with_nothing_left_stays_paused(cli, asset, fakes, pause, pauses):
    fakes.reset(balance_minutes=0)
    pause("lalal:default")

    assert checks(cli("doctor", "--json"))["lalal paused"]["status"] == "problem"
    assert pauses() == ["lalal:default"]


def test_an_account_that_does_not_answer_stays_paused(cli, asset, fakes, pause, pauses, monkeypatch):
    pause("lalal:default")
    monkeypatch.setenv("MUSPROJ_LALAL_KEY", "wrong")

    found = checks(cli("doctor", "--json"))["lalal paused"]

    assert (found["status"], found["detail"]) == ("problem", "The key is wrong.")
    assert found["fix"] == "Its jobs wait until that is mended."
    assert pauses() == ["lalal:default"]


def test_what_could_not_be_deleted_is_told(cli, asset, fakes, opened):
    with opened() as mp:
        now = mp.clock.now()
        job = new_job(mp.assets.get(DEFAULT_OWNER, asset).asset, now)
        op = new_op(job, service="lalal", upload_ref="u", cleanups=3, cleanup_due=now + timedelta(hours=1))
        mp.metadata.jobs.submit(attrs.evolve(job, remote=op))
        mp.jobs.cancel(DEFAULT_OWNER, job.job_id)
    found = checks(cli("doctor", "--json"))

    assert (found["lalal cleanup"]["status"], found["lalal cleanup"]["detail"]) == (
        "warning", "not deleted there yet: 1"
    )  # fmt: skip
    assert "auphonic cleanup" not in found


@pytest.mark.parametrize(
    ("engines", "name"),
    [
        ("separate=lalai", "engine of separate"),
        ("enhance=lalal", "engine of enhance"),
        ("analyze=lalal", "engine of analyze"),
        ("nobody=lalal", "engine of nobody"),
    ],
)
def test_an_engine_that_is_none_is_a_problem(cli, home, monkeypatch, engines, name):
    monkeypatch.setenv("MUSPROJ_ENGINES", engines)
    ran = cli("doctor", "--json")
    found = checks(ran)[name]

    assert ran.code == 11
    assert (found["status"], found["fix"]) == ("problem", "Mend MUSPROJ_ENGINES.")


@pytest.mark.parametrize("setting", ["ENGINES", "SERVICE_KEYS", "BUDGET_PER_JOB", "BUDGET_PER_DAY"])
def test_a_list_that_cannot_be_read_is_a_problem_and_not_quoted(cli, asset, monkeypatch, setting):
    monkeypatch.setenv(f"MUSPROJ_{setting}", KEY)
    ran = cli("doctor", "--json")

    assert ran.code == 11
    assert any(f"MUSPROJ_{setting} is wrong" in check["detail"] for check in ran.json["checks"])
    assert KEY not in ran.out + ran.err


def test_engines_that_are_there_are_no_finding(cli, fakes, monkeypatch):
    monkeypatch.setenv("MUSPROJ_ENGINES", "separate=lalal,enhance=auphonic")
    ran = cli("doctor", "--json")

    assert ran.code == 0
    assert not [name for name in checks(ran) if name.startswith("engine")]


def test_an_engine_without_a_key_is_a_warning(cli, fakes, monkeypatch):
    monkeypatch.setenv("MUSPROJ_ENGINES", "separate=lalal,enhance=auphonic")
    monkeypatch.delenv("MUSPROJ_AUPHONIC_KEY")
    ran = cli("doctor", "--json")
    found = {name: check for name, check in checks(ran).items() if name.startswith("engine")}

    assert ran.code == 0
    assert list(found) == ["engine of enhance"]
    assert found["engine of enhance"]["status"] == "warning"
    assert found["engine of enhance"]["detail"] == "auphonic has no key here"


@pytest.mark.parametrize("secret", ["", "s"])
def test_webhooks_that_could_be_used_are_told(cli, asset, fakes, monkeypatch, secret):
    monkeypatch.setenv("MUSPROJ_PUBLIC_URL", "https://api.example")
    monkeypatch.setenv("MUSPROJ_WEBHOOK_SECRET", secret)
    assert ("webhooks" in checks(cli("doctor", "--json"))) is not bool(secret)


# ── without a job, without a key ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "words",
    [
        ["lalal", "take.wav", "-o", "out"],
        ["auphonic", "take.wav", "-o", "out.wav"],
        ["separate", "take.wav", "-o", "out", "-p", "engine=lalal"],
        ["enhance", "take.wav", "-o", "out.wav", "-p", "engine=auphonic"],
    ],
    ids=["lalal", "auphonic", "separate", "enhance"],
)
def test_nothing_is_bought_without_a_job(cli, tone, home, fakes, words):
    tone()
    ran = cli("run", *words, "--json")

    assert (ran.code, ran.out) == (7, "")
    assert ran.error["code"] == "needs_job"
    assert f"musproj submit {words[0]}" in ran.error["hint"]
    assert [path.name for path in home.iterdir()] == ["take.wav"]
    assert fakes.requests == []


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["lalal"], ["lalal"]),
        (["auphonic"], ["auphonic"]),
        (["separate", "-p", "engine=lalal"], ["lalal"]),
        (["enhance", "-p", "engine=auphonic"], ["auphonic"]),
    ],
    ids=["lalal", "auphonic", "separate", "enhance"],
)
def test_a_job_that_waits_for_a_key_names_its_setting(cli, asset, opened, words, names):
    job_id = cli("submit", words[0], asset, *words[1:], "-q").out.strip()
    assert shown(cli("jobs", "show", job_id))["waits for"].startswith("a worker")

    with opened() as mp:
        types = ["analyze", words[0]]
        mp.metadata.jobs.announce(live_worker(new_worker(types=types), mp.clock.now()))
        mp.metadata.jobs.tick()
    found = shown(cli("jobs", "show", job_id))

    assert found["waits for"] == "a worker that can run it"
    for name in names:
        assert f"a key of {name} (MUSPROJ_{name.upper()}_KEY)" in found["would help"]
    assert "musproj[services]" in found["would help"]


def test_what_was_bought_is_found_again_and_not_bought_twice(cli, asset, fakes, work):
    first = cli("submit", "auphonic", f"{asset}@1", "-q").out.strip()
    work(first)

    assert cli("submit", "auphonic", f"{asset}@1", "-q").out.strip() == first
    assert cli("submit", "auphonic", f"{asset}@1", "-p", "targetLufs=-23", "-q").out.strip() != first
    assert len(fakes.state()["bills"]) == 1
