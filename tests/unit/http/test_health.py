"""Health over HTTP."""

from collections import namedtuple

import pytest

from musproj.errors import BackendUnavailableError


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/startupz"])
def test_health_needs_no_key_and_any_host_may_ask(open_api, path):
    api = open_api(api_key="secret", allowed_hosts=("api.example.com",))

    answer = api.get(path, headers={"host": "10.0.0.7"})

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["cache-control"] == "no-store"


def test_whoever_has_the_key_sees_each_part(open_api):
    api = open_api(api_key="secret")

    checks = api.get("/readyz", headers={"authorization": "Bearer secret"}).json()["checks"]

    assert checks == {part: {"ok": True} for part in ("metadata", "queue", "storage", "disk")}


def test_a_part_that_fails_turns_readiness_red_and_is_named(api):
    def fail() -> None:
        raise BackendUnavailableError("The queue is away.")

    api.app.site.readiness._mp = _with_queue(api.mp, fail)

    answer = api.get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert answer.json()["checks"]["queue"] == {"ok": False, "detail": "The queue is away."}
    assert answer.json()["checks"]["metadata"] == {"ok": True}


def test_a_full_disk_turns_readiness_red(api, monkeypatch):
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil's
    monkeypatch.setattr("musproj.http.readiness.shutil.disk_usage", lambda _: usage(100, 99, 1))

    assert api.get("/readyz").json()["checks"]["disk"]["ok"] is False


def test_the_stores_are_asked_once_in_two_seconds(api):
    asked = []
    api.app.site.readiness._mp = _with_queue(api.mp, lambda: asked.append(1))

    for _ in range(5):
        api.get("/readyz")

    assert len(asked) == 1


def test_a_draining_server_is_not_ready_at_once(api):
    api.get("/readyz")

    api.app.site.readiness.is_draining = True

    assert api.get("/readyz").json()["checks"] == {"server": {"ok": False, "detail": "draining"}}
    assert api.get("/healthz").status_code == 200


def _with_queue(mp, next_run_at):
    """Return something like `mp` whose queue answers as told."""
    queue = namedtuple("queue", "next_run_at")(next_run_at)  # noqa: PYI024 - a stand-in of one name
    parts = namedtuple("parts", "metadata queue opened_storage settings")  # noqa: PYI024 - as above
    return parts(mp.metadata, queue, mp.opened_storage, mp.settings)
