"""A foreign id is an unknown id, on every route of the document."""

import json
import re

import pytest

from musproj.domain.ids import DEFAULT_OWNER, Owner

STRANGER = Owner("stranger")
BODIES = {
    "promoteVersion": {"version": 1},
    "signParts": {"partNumbers": [1]},
    "changeAsset": {"name": "mine"},
    "submitJob": {"type": "gain", "assetId": "{assetId}"},
}
WITHOUT_IDS = {"requestUpload", "getHealth", "getReadiness", "getStartup", "listProcessors", "getProcessor"}


def by_header(scope) -> Owner:
    headers = dict(scope["headers"])
    return Owner(headers.get(b"x-owner", DEFAULT_OWNER.encode()).decode())


@pytest.fixture
def shared(open_api):
    return open_api(authenticate=by_header)


def operations(api):
    document = api.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation["operationId"]


def shown(answer, names: dict[str, str]) -> tuple:
    """Return all that an answer says, with the ids and what differs in each answer taken out."""
    text = re.sub(r"req_[0-9a-f]+", "<request>", answer.text)
    for name in ("assetId", "jobId"):
        text = text.replace(names[name], f"<{name}>")
    headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "content-length")}
    return answer.status_code, text, json.dumps(headers, sort_keys=True)


def test_every_route_with_an_id_treats_a_foreign_one_as_unknown(shared):
    asset_id, pending = shared.ready_asset(), shared.pending_asset()
    job_id = shared.job(asset_id)
    shared.succeed(shared.begin())
    unknown = {"assetId": "ast_" + "0" * 26, "jobId": "job_" + "0" * 26, "version": "1", "name": "gain"}
    unknown |= {"service": "lalal", "mac": "0" * 32}
    looked_at = set()

    for asset in (asset_id, pending):
        foreign = {**unknown, "assetId": asset, "jobId": job_id}
        for method, path, operation in operations(shared):
            if operation in WITHOUT_IDS or (operation == "submitJob" and asset == pending):
                continue
            body = BODIES.get(operation)
            answers = []
            for names in (foreign, unknown):
                filled = json.loads(json.dumps(body).replace("{assetId}", names["assetId"])) if body else None
                answer = shared.request(method, path.format(**names), filled, headers={"x-owner": STRANGER})
                answers.append(shown(answer, names))
            assert answers[0] == answers[1], operation
            # A webhook's address tells nobody whether it is right.
            assert answers[0][0] == (204 if operation == "takeHint" else 404) or "/{" not in path, operation
            looked_at.add(operation)

    assert {"getAsset", "getJob", "submitJob", "cancelJob", "downloadFile", "confirmUpload"} <= looked_at
    assert shared.get(f"/assets/{asset_id}").json()["status"] == "ready"


def test_lists_and_cursors_show_nothing_foreign(shared):
    for _ in range(3):
        shared.job()
        shared.clock.advance(1)
    cursor = shared.get("/jobs?limit=1").json()["nextCursor"]
    stranger = {"x-owner": STRANGER}

    for path in ("/jobs", f"/jobs?cursor={cursor}", "/assets", f"/jobs?assetId={shared.ready_asset()}"):
        assert shared.get(path, headers=stranger).json() == {"data": []}


def test_a_foreign_input_among_several_is_not_found(shared):
    mine = shared.ready_asset(owner=STRANGER)
    inputs = {"left": {"assetId": mine}, "right": {"assetId": shared.ready_asset()}}

    answer = shared.post("/jobs", {"type": "mix", "inputs": inputs}, headers={"x-owner": STRANGER})

    assert (answer.status_code, answer.json()["code"]) == (404, "asset_not_found")


def test_a_key_of_one_owner_is_none_of_another(shared):
    key = {"idempotency-key": "same"}
    first = shared.post("/uploads/request", {}, headers=key)
    second = shared.post("/uploads/request", {"name": "other"}, headers={**key, "x-owner": STRANGER})

    assert (first.status_code, second.status_code) == (201, 201)
