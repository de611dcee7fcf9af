"""The whole flow by the documented field names: request, PUT, confirm, submit, watch, download."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from musproj.testing.trouble import write_tone


def upload(client: httpx.Client, folder: Path, **declared: object) -> tuple[str, bytes]:
    content = write_tone(folder / "tone.wav").read_bytes()
    body = {"filename": "tone.wav", "contentType": "audio/wav", "size": len(content), **declared}
    ticket = client.post("/uploads/request", json=body).json()
    stored = httpx.request(ticket["method"], ticket["url"], content=content, headers=ticket["headers"])
    assert stored.status_code == 200, stored.text
    return ticket["assetId"], content


def test_the_flow_of_the_seed(served, worker, tmp_path):
    client = served.client
    asset_id, content = upload(client, tmp_path)

    confirmed = client.post(f"/uploads/confirm/{asset_id}")
    assert (confirmed.status_code, confirmed.json()["status"]) == (200, "ready")

    submitted = client.post("/jobs", json={"type": "copy", "assetId": asset_id, "inputVersion": 1})
    assert submitted.status_code == 202
    job_id = submitted.json()["jobId"]
    job = client.get(f"/jobs/{job_id}?wait=20").json()
    assert (job["status"], job["createdVersion"], job["progress"]) == ("succeeded", 2, 100)
    assert (job["assetId"], job["inputVersion"], job["type"]) == (asset_id, 1, "copy")

    for version, name in ((1, "source"), (2, "copied")):
        download = client.get(f"/assets/{asset_id}/download?version={version}").json()
        assert download["objectKey"] == f"assets/{asset_id}/v{version}/{name}.wav"
        file = httpx.get(download["url"])
        assert (file.status_code, file.headers["content-type"]) == (200, "audio/wav")
        assert hashlib.sha256(file.content).hexdigest() == download["sha256"]
        if version == 1:
            assert file.content == content
    redirected = client.get(f"/assets/{asset_id}/download?version=2&redirect=1", follow_redirects=True)
    assert redirected.content == file.content

    made = client.get(f"/assets/{asset_id}/versions/2").json()
    assert (made["fromVersion"], made["provenance"]["jobId"]) == (1, job_id)
    assert client.get(f"/assets/{asset_id}").json()["latestVersion"] == 2


def test_what_then_asks_for_is_done(served, worker, tmp_path):
    asset_id, _ = upload(served.client, tmp_path, then=[{"type": "look"}])
    served.client.post(f"/uploads/confirm/{asset_id}")

    (job,) = served.client.get(f"/jobs?assetId={asset_id}").json()["data"]

    assert served.client.get(f"/jobs/{job['jobId']}?wait=20").json()["result"]["bytes"] > 0


def test_a_ticket_is_good_for_one_upload_of_what_was_declared(served, tmp_path):
    client = served.client
    content = write_tone(tmp_path / "tone.wav").read_bytes()
    declared = {"contentType": "audio/wav", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    ticket = client.post("/uploads/request", json=declared).json()

    def put(body: bytes, **changes: str) -> int:
        headers = {**ticket["headers"], **changes, "content-length": str(len(body))}
        return httpx.put(ticket["url"], content=body, headers=headers).status_code

    assert put(content + b"\0") == 403
    assert put(content, **{"content-type": "text/html"}) == 403
    assert put(b"\0" * len(content)) == 400
    assert put(content) == 200
    assert put(content) == 412
    assert client.post(f"/uploads/confirm/{ticket['assetId']}").status_code == 200
    assert httpx.get(client.get(f"/assets/{ticket['assetId']}/download").json()["url"]).content == content


def test_a_worker_elsewhere_wakes_the_waiting_request_in_time(served, worker, tmp_path):
    asset_id, _ = upload(served.client, tmp_path)
    served.client.post(f"/uploads/confirm/{asset_id}")
    body = {"type": "look", "assetId": asset_id, "params": {"seconds": 0.5}}
    job_id = served.client.post("/jobs", json=body).json()["jobId"]

    answer = served.client.get(f"/jobs/{job_id}", headers={"prefer": "wait=20"})
    delay = served.mp.clock.now() - served.mp.jobs.get("default", job_id).finished_at

    assert answer.json()["status"] == "succeeded"
    assert answer.headers["preference-applied"] == "wait=20"
    assert delay.total_seconds() < 0.1


def test_every_change_is_heard_by_long_polls_in_order(served, worker, tmp_path):
    asset_id, _ = upload(served.client, tmp_path)
    served.client.post(f"/uploads/confirm/{asset_id}")
    answer = served.client.post("/jobs", json={"type": "look", "assetId": asset_id, "params": {"seconds": 0.3}})
    path, tag, seen = answer.headers["location"], answer.headers["etag"], [answer.json()["status"]]

    while seen[-1] not in ("succeeded", "failed"):
        answer = served.client.get(path, params={"wait": 20}, headers={"if-none-match": tag})
        assert answer.status_code == 200
        tag = answer.headers["etag"]
        seen.append(answer.json()["status"])

    assert [status for status, before in zip(seen, ["", *seen], strict=False) if status != before] == [
        "queued",
        "running",
        "succeeded",
    ]


def test_held_requests_cost_no_thread_and_delay_nobody(served, tmp_path):
    asset_id, _ = upload(served.client, tmp_path)
    served.client.post(f"/uploads/confirm/{asset_id}")
    job_id = served.client.post("/jobs", json={"type": "look", "assetId": asset_id}).json()["jobId"]
    before = threading.active_count()
    held = [served.connect() for _ in range(200)]
    try:
        for connection in held:
            connection.sendall(f"GET /jobs/{job_id}?wait=30 HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        served.client.get(f"/jobs/{job_id}")
        assert threading.active_count() - before <= 70, "the pool's threads at most"
        began = time.monotonic()
        for _ in range(20):
            assert served.client.get(f"/jobs/{job_id}").status_code == 200
        assert time.monotonic() - began < 2

        served.client.post(f"/jobs/{job_id}/cancel")
        assert all(b'"status":"cancelled"' in connection.recv(65_536) for connection in held)
    finally:
        for connection in held:
            connection.close()


def test_32_equal_submits_at_once_make_one_job(served, tmp_path):
    asset_id, _ = upload(served.client, tmp_path)
    served.client.post(f"/uploads/confirm/{asset_id}")
    body = {"type": "look", "assetId": asset_id}

    def submit(number: int) -> httpx.Response:
        headers = {"idempotency-key": "same"} if number % 2 else {}
        return httpx.post(f"{served.url}/jobs", json=body, headers=headers, timeout=20)

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(submit, range(32)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["jobId"] for answer in answers}) == 1


def test_stopping_lets_held_requests_go_and_ends_well(serve_with, tmp_path):
    served = serve_with()
    asset_id, _ = upload(served.client, tmp_path)
    served.client.post(f"/uploads/confirm/{asset_id}")
    job_id = served.client.post("/jobs", json={"type": "look", "assetId": asset_id}).json()["jobId"]
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(httpx.get, f"{served.url}/jobs/{job_id}?wait=30", timeout=30)
        time.sleep(0.3)

        began = time.monotonic()
        served.server.stop()
        answer = held.result(20)

    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert time.monotonic() - began < 5


def test_a_bearer_key_guards_the_server(serve_with):
    served = serve_with(api_key="secret")

    assert served.client.get("/jobs").status_code == 401
    assert served.client.get("/jobs", headers={"authorization": "Bearer secret"}).status_code == 200
    assert served.client.get("/healthz").status_code == 200


def test_head_is_get_without_the_body(served, tmp_path):
    asset_id, _ = upload(served.client, tmp_path)

    for path in (f"/assets/{asset_id}", "/jobs", "/openapi.json", "/nowhere"):
        full, head = served.client.get(path), served.client.head(path)
        assert (head.status_code, head.content) == (full.status_code, b"")
        if full.status_code == 200:
            assert head.headers["content-length"] == str(len(full.content))
            assert head.headers.get("etag") == full.headers.get("etag")
