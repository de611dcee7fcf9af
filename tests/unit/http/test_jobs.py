"""Jobs over HTTP."""

import asyncio
import time

import pytest

LIVE = {
    "jobId",
    "type",
    "assetId",
    "inputVersion",
    "params",
    "status",
    "progress",
    "attempts",
    "createdAt",
    "expiresAt",
}


def test_submitting_answers_202_with_the_place_of_the_job(api):
    asset_id = api.ready_asset()

    answer = api.post("/jobs", {"type": "gain", "assetId": asset_id, "params": {"gainDb": 3}})

    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/jobs/{job['jobId']}"
    assert answer.headers["retry-after"] == "1"
    assert set(job) == LIVE
    assert (job["assetId"], job["inputVersion"], job["status"], job["progress"]) == (asset_id, 1, "queued", 0)
    assert job["params"] == {"gainDb": 3.0, "passes": 1}
    assert job["createdAt"] == "2026-01-01T12:00:00Z"


def test_a_job_is_shown_with_a_tag_that_lasts_until_it_changes(api):
    job_id = api.job()
    shown = api.get(f"/jobs/{job_id}")

    same = api.get(f"/jobs/{job_id}", headers={"if-none-match": f'"other", W/{shown.headers["etag"]}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", shown.headers["etag"])
    assert "content-length" not in same.headers

    api.clock.advance(1)
    api.begin()
    changed = api.get(f"/jobs/{job_id}", headers={"if-none-match": shown.headers["etag"]})
    assert (changed.status_code, changed.json()["status"]) == (200, "running")


def test_every_step_of_a_job_has_a_tag_of_its_own(api):
    job_id = api.job()
    tags = [api.get(f"/jobs/{job_id}").headers["etag"]]
    granted = api.begin()
    tags.append(api.get(f"/jobs/{job_id}").headers["etag"])
    api.post(f"/jobs/{job_id}/cancel")
    tags.append(api.get(f"/jobs/{job_id}").headers["etag"])
    api.fail(granted)
    tags.append(api.get(f"/jobs/{job_id}").headers["etag"])

    assert len(set(tags)) == 4, "though the clock stood still"


def test_a_finished_job_names_the_version_it_made(api):
    job_id = api.job()
    api.succeed(api.begin())

    answer = api.get(f"/jobs/{job_id}")

    job = answer.json()
    assert (job["status"], job["progress"], job["createdVersion"], job["result"]) == (
        "succeeded",
        100,
        2,
        {"gain": 1.5},
    )
    assert {"startedAt", "finishedAt"} <= set(job)
    assert "retry-after" not in answer.headers


def test_a_failed_job_tells_why_and_what_was_tried(api):
    job_id = api.job()
    api.fail(api.begin())

    job = api.get(f"/jobs/{job_id}?include=attempts").json()

    assert job["error"] == {"code": "not_audio", "message": "It is a picture.", "retryable": False}
    assert [attempt["code"] for attempt in job["attemptLog"]] == ["not_audio"]
    assert "attemptLog" not in api.get(f"/jobs/{job_id}").json()


def test_several_inputs_are_named_by_port(api):
    one, two = api.ready_asset(), api.ready_asset()
    inputs = {"left": {"assetId": one}, "right": {"assetId": two, "version": 1, "file": "source"}}

    job = api.post("/jobs", {"type": "mix", "inputs": inputs}).json()

    assert job["assetId"] == one
    assert job["inputs"] == {
        "left": {"assetId": one, "version": 1},
        "right": {"assetId": two, "version": 1, "file": "source"},
    }


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({"type": "gain"}, ["/assetId"]),
        ({"type": "gain", "assetId": "a", "inputs": {"input": {"assetId": "a"}}}, ["/assetId"]),
        (
            {"type": "gain", "inputVersion": 1, "inputFile": "x", "inputs": {"input": {"assetId": "a"}}},
            ["/inputVersion", "/inputFile"],
        ),
        ({"type": "gain", "assetId": "a*b"}, ["/assetId"]),
        ({"type": "gain", "assetId": "a", "runAt": "2026-01-01T00:00:00"}, ["/runAt"]),
        ({"type": "gain", "assetId": "a", "runAt": "0001-01-01T00:00:00+23:00"}, ["/runAt"]),
        ({"type": "gain", "assetId": "a", "expiresAt": "9999-12-31T23:59:59.9999Z"}, ["/expiresAt"]),
        ({"type": "gain", "assetId": "a", "params": {"x": "y" * 40_000}}, ["/params"]),
        ({"type": "gain", "assetId": "a", "owner": "me", "status": "succeeded"}, ["/owner", "/status"]),
        ({"type": "gain", "assetId": "a", "dependsOn": []}, ["/dependsOn"]),
        ({"type": "gain", "assetId": None, "force": 1}, ["/assetId", "/force"]),
    ],
)
def test_every_wrong_place_of_a_request_is_named(api, body, places):
    answer = api.post("/jobs", body)

    assert answer.status_code == 422
    assert answer.json()["code"] == "validation_failed"
    assert [place["pointer"] for place in answer.json()["errors"]] == places


def test_an_unknown_and_a_missing_port_are_both_named(api):
    body = {"type": "mix", "inputs": {"left": {"assetId": api.ready_asset()}, "middle": {"assetId": "a"}}}

    answer = api.post("/jobs", body)

    assert [place["pointer"] for place in answer.json()["errors"]] == ["/inputs/middle", "/inputs/right"]


def test_wrong_parameters_are_named_in_the_processors_words(api):
    answer = api.post("/jobs", {"type": "gain", "assetId": api.ready_asset(), "params": {"gainDb": 99, "speed": 1}})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_params")
    assert {place["pointer"] for place in answer.json()["errors"]} == {"/params/gainDb", "/params/speed"}


def test_an_unknown_type_is_told_the_nearest(api):
    answer = api.post("/jobs", {"type": "gian", "assetId": api.ready_asset()})

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_job_type")
    assert answer.json()["errors"][0]["pointer"] == "/type"
    assert "gain" in answer.json()["hint"]


def test_a_whole_number_may_be_written_with_a_point(api):
    body = b'{"type":"gain","assetId":"%s","inputVersion":1.0,"params":{"passes":2.0}}' % api.ready_asset().encode()

    assert api.post("/jobs", body).json()["params"]["passes"] == 2


def test_an_identical_live_job_is_the_answer_unless_forced(api):
    asset_id = api.ready_asset()

    first, second = api.job(asset_id), api.job(asset_id)

    assert first == second
    assert api.job(asset_id, force=True) != first


def test_a_delayed_job_says_when_it_runs(api):
    job_id = api.job(runAt="2026-01-01T13:00:00+00:30", expiresAt="2026-01-02T00:00:00Z", priority="high")

    job = api.get(f"/jobs/{job_id}").json()

    assert (job["runAt"], job["expiresAt"], job["waitReason"]) == (
        "2026-01-01T12:30:00Z",
        "2026-01-02T00:00:00Z",
        "delay",
    )


# ── idempotency ──


def test_a_key_makes_a_repeat_the_same_job_even_after_its_end(api):
    asset_id = api.ready_asset()
    body, key = {"type": "gain", "assetId": asset_id, "params": {"passes": 2, "gainDb": 1}}, {"idempotency-key": "k 1"}
    first = api.post("/jobs", body, headers=key)
    api.succeed(api.begin())

    again = api.post(
        "/jobs", b'{"params":{"gainDb":1,"passes":2},"assetId":"%s","type":"gain"}' % asset_id.encode(), headers=key
    )

    assert again.status_code == 202
    assert again.json()["jobId"] == first.json()["jobId"]
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers


def test_a_key_with_another_request_is_refused(api):
    asset_id, key = api.ready_asset(), {"idempotency-key": "k"}
    api.post("/jobs", {"type": "gain", "assetId": asset_id}, headers=key)

    answer = api.post("/jobs", {"type": "gain", "assetId": asset_id, "force": True}, headers=key)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")


@pytest.mark.parametrize("key", ["", " ", "x" * 256, b"\xff"])
def test_a_key_that_is_none_is_refused(api, key):
    answer = api.post("/jobs", {"type": "gain", "assetId": api.ready_asset()}, headers={"idempotency-key": key})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "Idempotency-Key"


def test_a_refused_request_leaves_its_key_usable(api):
    asset_id, key = api.ready_asset(), {"idempotency-key": "k"}
    assert api.post("/jobs", {"type": "gain", "assetId": asset_id, "inputVersion": 7}, headers=key).status_code == 404

    assert api.post("/jobs", {"type": "gain", "assetId": asset_id}, headers=key).status_code == 202


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "one"}])
def test_32_equal_submits_at_once_are_one_job(api, headers):
    body = {"type": "gain", "assetId": api.ready_asset()}

    async def all_at_once():
        return await asyncio.gather(*(api.send("POST", "/jobs", body, headers=headers) for _ in range(32)))

    answers = api.run(all_at_once())

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["jobId"] for answer in answers}) == 1
    assert len(api.get("/jobs").json()["data"]) == 1


# ── cancel and retry ──


def test_cancelling_twice_answers_the_same(api):
    job_id = api.job()

    answers = [api.post(f"/jobs/{job_id}/cancel") for _ in range(2)]

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(202, "cancelled")] * 2


def test_cancelling_a_running_job_asks_it_to_stop(api):
    job_id = api.job()
    api.begin()

    job = api.post(f"/jobs/{job_id}/cancel", {}).json()

    assert job["status"] == "running"
    assert "cancelRequestedAt" in job


def test_cancelling_an_ended_job_tells_how_it_ended(api):
    job_id = api.job()
    api.succeed(api.begin())

    answer = api.post(f"/jobs/{job_id}/cancel")

    assert (answer.status_code, answer.json()["code"]) == (409, "job_already_finished")
    assert answer.json()["jobStatus"] == "succeeded"


def test_retrying_makes_another_job_once_per_key(api):
    job_id = api.job()
    api.fail(api.begin())

    answers = [api.post(f"/jobs/{job_id}/retry", headers={"idempotency-key": "r"}) for _ in range(2)]

    first, second = (answer.json() for answer in answers)
    assert first["jobId"] == second["jobId"] != job_id
    assert first["retryOf"] == job_id
    assert answers[0].headers["location"] == f"/jobs/{first['jobId']}"
    assert answers[1].headers["idempotent-replayed"] == "true"


def test_a_key_belongs_to_the_job_that_it_retried(api):
    first, second = api.job(), api.job()
    for _ in range(2):
        api.fail(api.begin())
    api.post(f"/jobs/{first}/retry", headers={"idempotency-key": "r"})

    answer = api.post(f"/jobs/{second}/retry", headers={"idempotency-key": "r"})

    assert answer.json()["code"] == "idempotency_mismatch"


def test_only_a_failed_or_cancelled_job_is_retried(api):
    answer = api.post(f"/jobs/{api.job()}/retry")

    assert (answer.status_code, answer.json()["code"]) == (409, "job_not_retryable")


# ── lists ──


def test_a_list_is_paged_newest_first_by_links(api):
    made = []
    for _ in range(5):
        made.append(api.job())
        api.clock.advance(1)

    seen, path = [], "/jobs?limit=2&status=queued"
    while path:
        page = api.get(path)
        seen += [job["jobId"] for job in page.json()["data"]]
        link = page.headers.get("link", "")
        assert ("nextCursor" in page.json()) is bool(link)
        path = link.removeprefix("<").removesuffix('>; rel="next"')
        if not made[5:]:
            made.append(api.job())  # what comes in meanwhile shifts nothing

    assert seen == made[4::-1]


def test_a_list_is_filtered(api):
    first, second = api.ready_asset(), api.ready_asset()
    wanted = api.job(first)
    api.clock.advance(3600)
    api.job(second)
    api.post(f"/jobs/{wanted}/cancel")

    for query in (f"assetId={first}", "status=cancelled", "createdBefore=2026-01-01T12:30:00Z"):
        assert [job["jobId"] for job in api.get(f"/jobs?{query}").json()["data"]] == [wanted]
    assert len(api.get("/jobs?createdAfter=2026-01-01T12:30:00Z").json()["data"]) == 1


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("limit=0", ["limit"]),
        ("limit=101&status=done", ["limit", "status"]),
        ("limit=1&limit=2", ["limit"]),
        ("asset=x&cursor", ["asset"]),
        ("assetId=*", ["assetId"]),
        ("createdAfter=yesterday", ["createdAfter"]),
        ("createdAfter=0001-01-01T00:00:00Z&createdBefore=9999-01-01T00:00:00Z", ["createdAfter", "createdBefore"]),
    ],
)
def test_every_wrong_parameter_is_named(api, query, names):
    answer = api.get(f"/jobs?{query}")

    assert answer.status_code == 422
    assert [place["parameter"] for place in answer.json()["errors"]] == names


@pytest.mark.parametrize("path", ["/jobs", "/assets"])
@pytest.mark.parametrize("cursor", ["*", "%00", "%F0%9F%8E%B5", "x" * 513])
def test_a_malformed_cursor_is_refused(api, path, cursor):
    answer = api.get(f"{path}?cursor={cursor}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "cursor"


# ── waiting ──


@pytest.mark.parametrize("how", [{"headers": {"prefer": "respond-async, wait=20"}}, {"params": {"wait": "20"}}])
def test_a_wait_ends_with_the_job(api, threads, how):
    job_id = api.job()

    async def watch():
        held = asyncio.create_task(api.send("GET", f"/jobs/{job_id}", **how))
        await asyncio.sleep(0.2)
        assert not held.done()
        await asyncio.get_running_loop().run_in_executor(threads, lambda: api.succeed(api.begin()))
        changed = time.monotonic()
        return await held, time.monotonic() - changed

    answer, delay = api.run(watch())

    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["preference-applied"] == "wait=20"
    assert delay < 0.1


def test_a_wait_with_a_known_tag_ends_with_any_change(api, threads):
    job_id = api.job()
    known = api.get(f"/jobs/{job_id}").headers["etag"]

    async def watch():
        held = asyncio.create_task(api.send("GET", f"/jobs/{job_id}?wait=20", headers={"if-none-match": known}))
        await asyncio.sleep(0.05)
        await asyncio.get_running_loop().run_in_executor(threads, api.begin)
        return await held

    answer = api.run(watch())

    assert (answer.status_code, answer.json()["status"]) == (200, "running")


def test_a_wait_that_is_over_answers_with_what_is(api):
    job_id = api.job()
    known = api.get(f"/jobs/{job_id}").headers["etag"]

    assert api.get(f"/jobs/{job_id}?wait=1").status_code == 200
    assert api.get(f"/jobs/{job_id}?wait=1", headers={"if-none-match": known}).status_code == 304


def test_submitting_can_wait_too(api, threads):
    asset_id = api.ready_asset()

    async def submit():
        held = asyncio.create_task(api.send("POST", "/jobs?wait=20", {"type": "gain", "assetId": asset_id}))
        async with asyncio.timeout(10):
            while api.mp.queue.depth() == 0:  # noqa: ASYNC110 - a memory queue tells nobody
                await asyncio.sleep(0.01)
        await asyncio.get_running_loop().run_in_executor(threads, lambda: api.succeed(api.begin()))
        return await held

    answer = api.run(submit())

    assert (answer.status_code, answer.json()["status"]) == (202, "succeeded")
    assert answer.headers["location"] == f"/jobs/{answer.json()['jobId']}"


def test_what_needs_no_waiting_is_answered_at_once(api):
    job_id = api.job()
    api.succeed(api.begin())

    began = time.monotonic()
    ended = api.get(f"/jobs/{job_id}?wait=30")
    other = api.get(f"/jobs/{job_id}?wait=30", headers={"if-none-match": '"old"'})

    assert (ended.status_code, other.status_code) == (200, 200)
    assert time.monotonic() - began < 2


def test_a_released_watcher_lets_every_request_go(api):
    job_id = api.job()

    async def release():
        held = [asyncio.create_task(api.send("GET", f"/jobs/{job_id}?wait=30")) for _ in range(8)]
        await asyncio.sleep(0.1)
        api.app.site.watcher.release()
        return await asyncio.gather(*held, api.send("GET", f"/jobs/{job_id}?wait=30"))

    began = time.monotonic()
    answers = api.run(release())

    assert {answer.json()["status"] for answer in answers} == {"queued"}
    assert time.monotonic() - began < 5


def test_retry_after_grows_with_the_age_of_the_job(api):
    job_id = api.job()

    seen = []
    for age in (0, 15, 30, 600):
        api.clock.set(api.clock.now())
        seen.append(int(api.get(f"/jobs/{job_id}").headers["retry-after"]))
        api.clock.advance(age + 15)

    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (1, 5)


def test_a_preset_is_resolved_when_the_job_is_submitted(open_api, tmp_path):
    presets = tmp_path / "presets.toml"
    presets.write_text('[loud]\ntype = "gain"\ndescription = "Up"\nparams = { gainDb = 6, passes = 2 }\n')
    api = open_api(presets=str(presets))
    asset_id = api.ready_asset()

    answer = api.post("/jobs", {"preset": "loud", "assetId": asset_id, "params": {"passes": 3}})

    job = answer.json()
    assert answer.status_code == 202
    assert (job["type"], job["params"]) == ("gain", {"gainDb": 6.0, "passes": 3})
    shown = {"name": "loud", "type": "gain", "description": "Up", "params": {"gainDb": 6, "passes": 2}}
    assert api.get("/presets").json() == {"data": [shown]}
    assert api.get("/presets/loud").json() == shown
    wrong = api.post("/jobs", {"preset": "loud", "type": "gain", "assetId": asset_id})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/type")
    missing = api.post("/jobs", {"preset": "lod", "assetId": asset_id})
    assert (missing.status_code, missing.json()["code"]) == (404, "preset_not_found")
    neither = api.post("/jobs", {"assetId": asset_id})
    assert (neither.status_code, neither.json()["errors"][0]["code"]) == (422, "required")


def test_an_upload_may_be_followed_by_a_preset(open_api, tmp_path):
    presets = tmp_path / "presets.toml"
    presets.write_text('[loud]\ntype = "gain"\nparams = { gainDb = 6 }\n')
    api = open_api(presets=str(presets))

    good = api.post("/uploads/request", {"then": [{"preset": "loud"}]})
    bad = api.post("/uploads/request", {"then": [{"preset": "lod"}]})

    assert good.status_code == 201
    assert (bad.status_code, bad.json()["code"]) == (404, "preset_not_found")


def test_a_chain_is_checked_step_by_step(api):
    asset_id = api.ready_asset()
    steps = [{"type": "gain", "params": {"gainDb": 3}}, {"type": "gain", "params": {"gainDb": 1e9}}, {"type": "gian"}]

    good = api.post("/jobs", {"type": "chain", "assetId": asset_id, "params": {"steps": steps[:1] * 2}})
    bad = api.post("/jobs", {"type": "chain", "assetId": asset_id, "params": {"steps": steps}})

    assert good.status_code == 202
    assert good.json()["params"]["steps"][1] == {"type": "gain", "params": {"gainDb": 3.0, "passes": 1}}
    assert bad.status_code == 422
    assert [place["pointer"] for place in bad.json()["errors"]] == [
        "/params/steps/1/params/gainDb",
        "/params/steps/2/type",
    ]


def test_chains_in_chains_without_end_are_refused(api):
    asset_id = api.ready_asset()
    deep = '{"type":"chain","params":{"steps":['
    body = f'{{"type":"chain","assetId":"{asset_id}","params":{{"steps":[{deep * 400}{"]}}" * 400},{{}}]}}}}'

    assert api.post("/jobs", body.encode(), headers={"content-type": "application/json"}).status_code in (400, 422)
