"""Uploads over HTTP."""

import asyncio
import io
import threading
import time
import wave

import pytest

TYPES = {"content-type": "audio/wav"}


def wav(frames: int = 480) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(b"\1\2" * frames)
    return buffer.getvalue()


def put(api, ticket, content=None):
    path = ticket["url"].removeprefix("http://localhost:80")
    return api.request("PUT", path, wav() if content is None else content, headers=ticket["headers"])


def test_a_ticket_is_all_that_an_upload_needs(api):
    answer = api.post("/uploads/request", {"filename": "take one.wav", "contentType": "audio/wav", "name": "Take"})

    ticket = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/assets/{ticket['assetId']}"
    assert answer.headers["cache-control"] == "no-store"
    assert (ticket["method"], ticket["version"], ticket["expiresIn"], ticket["status"]) == ("PUT", 1, 3600, "pending")
    assert ticket["objectKey"] == f"assets/{ticket['assetId']}/v1/source.wav"
    assert put(api, ticket).status_code == 200

    confirmed = api.post(f"/uploads/confirm/{ticket['assetId']}")

    asset = confirmed.json()
    assert confirmed.status_code == 200
    assert (asset["status"], asset["latestVersion"], asset["head"], asset["versionCount"]) == ("ready", 1, 1, 1)
    assert asset["name"] == "Take"
    file = asset["versions"][0]["files"][0]
    assert (file["size"], file["sampleRate"], file["channels"], file["duration"]) == (len(wav()), 48_000, 1, 0.01)


def test_confirming_again_answers_the_same(api):
    ticket = api.post("/uploads/request", {"filename": "a.wav"}).json()
    put(api, ticket)

    first, second = (api.post(f"/uploads/confirm/{ticket['assetId']}", {}) for _ in range(2))

    assert first.json() == second.json()
    assert first.headers["etag"] == api.get(f"/assets/{ticket['assetId']}").headers["etag"]


def test_jobs_of_then_are_submitted_by_the_confirm(api):
    then = [{"type": "gain", "params": {"gainDb": 1}}, {"type": "measure"}]
    ticket = api.post("/uploads/request", {"filename": "a.wav", "then": then}).json()
    put(api, ticket)
    api.post(f"/uploads/confirm/{ticket['assetId']}")

    jobs = api.get(f"/jobs?assetId={ticket['assetId']}").json()["data"]

    assert {job["type"] for job in jobs} == {"gain", "measure"}


def test_a_missing_upload_is_told_with_what_to_do(api):
    ticket = api.post("/uploads/request", {"filename": "a.wav"}).json()

    answer = api.post(f"/uploads/confirm/{ticket['assetId']}")

    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (409, "upload_missing", True)
    assert answer.json()["expired"] is False
    assert "retry-after" in answer.headers

    api.clock.advance(3601)
    assert api.post(f"/uploads/confirm/{ticket['assetId']}").json()["expired"] is True


def test_what_is_no_audio_is_told_and_kept_on_the_asset(api):
    ticket = api.post("/uploads/request", {"filename": "a.wav"}).json()
    put(api, ticket, b"<html>")

    answer = api.post(f"/uploads/confirm/{ticket['assetId']}")

    assert (answer.status_code, answer.json()["code"]) == (422, "not_audio")
    asset = api.get(f"/assets/{ticket['assetId']}").json()
    assert (asset["status"], asset["uploadError"]["code"], asset["versions"]) == ("pending", "not_audio", [])


def test_a_key_makes_a_repeat_the_same_asset_with_a_fresh_url(api):
    key = {"idempotency-key": "upload"}
    first = api.post("/uploads/request", {"filename": "a.wav"}, headers=key)
    api.clock.advance(600)

    again = api.post("/uploads/request", {"filename": "a.wav"}, headers=key)

    assert again.json()["assetId"] == first.json()["assetId"]
    assert again.json()["expiresAt"] > first.json()["expiresAt"]
    assert again.headers["idempotent-replayed"] == "true"
    assert api.post("/uploads/request", {"filename": "b.wav"}, headers=key).json()["code"] == "idempotency_mismatch"


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({"size": 0, "sha256": "ab"}, ["/size", "/sha256"]),
        ({"contentType": "audio/wav\r\nx: y"}, ["/contentType"]),
        ({"contentType": "wav"}, ["/contentType"]),
        ({"filename": ""}, ["/filename"]),
        ({"filename": "é" * 200}, ["/filename"]),
        ({"objectKey": "assets/x/v1/source.wav", "tenant": "x"}, ["/objectKey", "/tenant"]),
        ({"then": [{"type": "gain"}, {"params": {}}]}, ["/then/1/type"]),
        ({"then": [{"type": "gain", "params": {"x": "y" * 40_000}}]}, ["/then/0/params"]),
        ({"expiresIn": 2**40}, ["/expiresIn"]),
    ],
)
def test_every_wrong_place_is_named(api, body, places):
    answer = api.post("/uploads/request", body)

    assert answer.status_code == 422
    assert [place["pointer"] for place in answer.json()["errors"]] == places


def test_a_wrong_job_of_then_is_named_by_its_place(api):
    wrong = [{"type": "gain", "params": {"gainDb": 99, "x": 1}}, {"type": "gian"}, {"type": "mix"}]

    found = []
    for job in wrong:
        answer = api.post("/uploads/request", {"then": [{"type": "measure"}, job]})
        found.append((answer.status_code, answer.json()["code"], [e["pointer"] for e in answer.json()["errors"]]))

    assert found == [
        (422, "invalid_params", ["/then/1/params/gainDb", "/then/1/params/x"]),
        (422, "unknown_job_type", ["/then/1/type"]),
        (422, "validation_failed", ["/then/1/type"]),
    ]
    assert api.get("/assets").json()["data"] == []


def test_an_upload_over_the_policy_is_refused(open_api):
    answer = open_api(max_upload_bytes=1000).post("/uploads/request", {"size": 1001})

    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert (answer.json()["value"], answer.json()["max"]) == (1001, 1000)


def test_a_pending_upload_can_have_a_fresh_url(api):
    ticket = api.post("/uploads/request", {"filename": "a.wav", "expiresIn": 60}).json()
    api.clock.advance(61)
    assert put(api, ticket).status_code == 403

    renewed = api.post(f"/uploads/{ticket['assetId']}/renew", {"expiresIn": 120})

    assert renewed.status_code == 200
    assert (renewed.json()["assetId"], renewed.json()["expiresIn"]) == (ticket["assetId"], 120)
    assert put(api, renewed.json()).status_code == 200
    assert api.post(f"/uploads/{ticket['assetId']}/renew").status_code == 409


def test_a_pending_upload_can_be_given_up(api):
    asset_id = api.post("/uploads/request", {}).json()["assetId"]

    answer = api.request("DELETE", f"/uploads/{asset_id}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-length" not in answer.headers
    assert api.get(f"/assets/{asset_id}").json()["status"] == "deleted"
    assert api.request("DELETE", f"/uploads/{api.ready_asset()}").json()["code"] == "conflict"


def test_a_store_that_signs_nothing_is_our_fault(open_api):
    answer = open_api(storage="memory:").post("/uploads/request", {})

    assert (answer.status_code, answer.json()["code"]) == (500, "configuration")
    assert "file:" not in answer.text


def test_a_bucket_that_does_not_answer_delays_nothing_else(api, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(api.app.site.pools, "_bucket_seconds", 0.5)
    api.mp.metadata.assets.claim_confirm = lambda *_args, **_options: released.wait(20)
    asset_id = api.pending_asset()

    async def all_at_once():
        confirms = [asyncio.create_task(api.send("POST", f"/uploads/confirm/{asset_id}")) for _ in range(64)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        jobs = await api.send("GET", "/jobs")
        took = time.monotonic() - began
        answers = await asyncio.gather(*confirms)
        released.set()
        return jobs, took, answers

    jobs, took, answers = api.run(all_at_once())

    assert (jobs.status_code, took < 0.3) == (200, True)
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "backend_unavailable")}
    assert {answer.headers["retry-after"] for answer in answers} == {"2"}
