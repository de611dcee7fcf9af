"""The API while Redis is away, full or read-only: it says so, loses nothing, and is well again by itself."""

import threading
import time

import httpx
import pytest

from musproj.http.server import ApiServer, listen
from musproj.testing.processes import free_ports
from musproj.testing.workers import add_asset, wait_until


@pytest.fixture
def client(mp):
    """Serve in a thread; give a client of it."""
    (port,) = free_ports()
    settings = mp.settings.__class__(data=mp.settings.data, port=port)
    ready = threading.Event()
    with listen(settings) as listener:
        server = ApiServer(mp, listener)
        options = {"on_ready": lambda _url: ready.set(), "settle": False}
        thread = threading.Thread(target=server.run, kwargs=options, daemon=True)
        thread.start()
        assert ready.wait(20)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as found:
            yield found
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


def test_f27_it_answers_503_until_redis_is_well(client, mp, own_redis, trouble):
    asset_id = add_asset(mp)
    body = {"type": "copy", "assetId": asset_id}
    before = client.post("/jobs", json=body, headers={"Idempotency-Key": "first"})
    assert before.status_code == 202
    assert client.get("/readyz").status_code == 200
    steps = trouble(own_redis)
    next(steps)
    begun = time.monotonic()

    refused = client.post("/jobs", json=body | {"force": True}, headers={"Idempotency-Key": "second"})
    assert refused.status_code == 503, refused.text
    assert refused.json()["code"] == "backend_unavailable"
    assert int(refused.headers["Retry-After"]) >= 1
    assert time.monotonic() - begun < 12.0
    wait_until(lambda: client.get("/readyz").status_code == 503)
    assert client.get("/healthz").status_code == 200

    next(steps, None)
    wait_until(lambda: client.get("/readyz").status_code == 200)
    again = client.post("/jobs", json=body | {"force": True}, headers={"Idempotency-Key": "second"})
    assert again.status_code == 202
    job_id = before.json()["jobId"]
    assert client.get(f"/jobs/{job_id}").json()["status"] == "queued"
    assert {job["jobId"] for job in client.get("/jobs").json()["data"]} == {job_id, again.json()["jobId"]}
