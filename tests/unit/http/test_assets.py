"""Assets and versions over HTTP."""

import pytest


def test_an_asset_is_shown_with_its_newest_versions_without_provenance(api):
    asset_id = api.ready_asset(name="Take")
    for _ in range(25):
        api.job(asset_id, force=True)
        api.succeed(api.begin())

    asset = api.get(f"/assets/{asset_id}").json()

    assert (asset["versionCount"], asset["latestVersion"], asset["head"]) == (26, 26, 26)
    assert [version["version"] for version in asset["versions"]] == list(range(26, 6, -1))
    assert not any("provenance" in version for version in asset["versions"])
    assert "headPinned" not in asset


def test_lists_show_assets_without_versions(api):
    first = api.ready_asset()
    api.clock.advance(1)
    second = api.pending_asset()
    api.clock.advance(1)
    api.request("DELETE", f"/assets/{api.ready_asset()}")

    page = api.get("/assets").json()

    assert [asset["assetId"] for asset in page["data"]] == [second, first]
    assert not any("versions" in asset for asset in page["data"])
    assert [asset["assetId"] for asset in api.get("/assets?status=ready").json()["data"]] == [first]
    assert len(api.get("/assets?status=deleted").json()["data"]) == 1
    assert api.get("/assets?createdAfter=2026-01-01T12:00:01Z&limit=1").headers.get("link") is None


def test_renaming_takes_a_name_and_an_empty_one_away(api):
    asset_id = api.ready_asset()

    assert api.request("PATCH", f"/assets/{asset_id}", {"name": "Ünïcode 🎵"}).json()["name"] == "Ünïcode 🎵"
    assert api.request("PATCH", f"/assets/{asset_id}", {}).json()["name"] == "Ünïcode 🎵"
    assert "name" not in api.request("PATCH", f"/assets/{asset_id}", {"name": ""}).json()
    assert api.request("PATCH", f"/assets/{asset_id}", {"name": None}).status_code == 422


def test_a_promoted_version_stays_head_until_it_is_let_go(api):
    asset_id = api.ready_asset()
    api.job(asset_id)
    api.succeed(api.begin())

    pinned = api.post(f"/assets/{asset_id}/head", {"version": 1}).json()
    assert (pinned["head"], pinned["headPinned"]) == (1, True)

    free = api.request("DELETE", f"/assets/{asset_id}/head").json()
    assert free["head"] == 2
    assert "headPinned" not in free


def test_a_deletion_can_be_taken_back(api):
    asset_id = api.ready_asset()

    deleted = api.request("DELETE", f"/assets/{asset_id}")
    assert (deleted.status_code, deleted.json()["status"]) == (202, "deleted")
    assert deleted.json()["purgeAt"] == "2026-01-08T12:00:00Z"
    assert api.request("DELETE", f"/assets/{asset_id}").status_code == 202
    assert api.request("PATCH", f"/assets/{asset_id}", {"name": "x"}).json()["code"] == "asset_not_ready"

    assert api.post(f"/assets/{asset_id}/undelete").json()["status"] == "ready"
    assert api.post(f"/assets/{asset_id}/undelete").json()["code"] == "conflict"


CHANGES = [
    ("PATCH", "", {"name": "x"}),
    ("DELETE", "", None),
    ("POST", "/head", {"version": 1}),
    ("DELETE", "/head", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_a_change_heeds_if_match(api, method, path, body):
    asset_id = api.ready_asset()
    old = api.get(f"/assets/{asset_id}").headers["etag"]
    api.request("PATCH", f"/assets/{asset_id}", {"name": "other"})
    present = api.get(f"/assets/{asset_id}").headers["etag"]

    for given in (old, f"W/{present}", '"nonsense"', f'{old}, "r77"', ""):
        refused = api.request(method, f"/assets/{asset_id}{path}", body, headers={"if-match": given})
        assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed"), given
    changed = api.request(method, f"/assets/{asset_id}{path}", body, headers={"if-match": f"{old}, {present}"})
    assert changed.status_code in (200, 202)
    assert changed.headers["etag"] == api.get(f"/assets/{asset_id}").headers["etag"] != present


def test_if_match_star_allows_any_state(api):
    answer = api.request("PATCH", f"/assets/{api.ready_asset()}", {"name": "x"}, headers={"if-match": "*"})

    assert answer.status_code == 200


# ── versions ──


def test_a_version_is_shown_with_its_provenance_and_never_changes(api):
    asset_id = api.ready_asset()
    job_id = api.job(asset_id, params={"gainDb": 2})
    api.succeed(api.begin())

    for reference in ("2", "latest", "head"):
        shown = api.get(f"/assets/{asset_id}/versions/{reference}")
        version = shown.json()
        assert (version["version"], version["fromVersion"], version["kind"]) == (2, 1, "enhanced")
        assert version["objectKey"] == version["files"][0]["objectKey"] == f"assets/{asset_id}/v2/enhanced.wav"
        made = version["provenance"]
        assert (made["jobId"], made["processor"], made["params"]["gainDb"]) == (job_id, "gain", 2.0)
        assert made["inputs"][0]["assetId"] == asset_id
        again = api.get(f"/assets/{asset_id}/versions/{reference}", headers={"if-none-match": shown.headers["etag"]})
        assert again.status_code == 304
    assert "provenance" not in api.get(f"/assets/{asset_id}/versions/1").json()


def test_versions_are_paged_in_either_order(api):
    asset_id = api.ready_asset()
    for _ in range(4):
        api.job(asset_id, force=True)
        api.succeed(api.begin())

    def walk(order: str) -> list[int]:
        seen, path = [], f"/assets/{asset_id}/versions?limit=2&order={order}"
        while path:
            page = api.get(path)
            seen += [version["version"] for version in page.json()["data"]]
            path = page.headers.get("link", "").removeprefix("<").removesuffix('>; rel="next"')
        return seen

    assert walk("desc") == [5, 4, 3, 2, 1]
    assert walk("asc") == [1, 2, 3, 4, 5]


def test_attachments_are_beside_the_version(api):
    asset_id = api.ready_asset()
    tag = api.get(f"/assets/{asset_id}/versions/1").headers["etag"]
    job_id = api.job(asset_id)
    api.succeed(api.begin(), attach="peaks")

    (file,) = api.get(f"/assets/{asset_id}/versions/head/attachments").json()["data"]

    assert (file["name"], file["jobId"], file["contentType"]) == ("peaks", job_id, "application/json")
    assert "createdAt" in file
    assert api.get(f"/assets/{asset_id}/versions/1").headers["etag"] == tag
    assert api.get(f"/assets/{asset_id}/download?version=1&file=peaks").json()["objectKey"] == file["objectKey"]


@pytest.mark.parametrize("reference", ["0", "01", "-1", "1.0", "last", "99999999999", "%0A1", "1%0A"])
def test_what_is_no_version_is_refused_at_the_edge(api, reference):
    answer = api.get(f"/assets/{api.ready_asset()}/versions/{reference}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "version"


# ── download ──


def test_a_download_is_a_signed_url_with_what_is_behind_it(api):
    asset_id = api.ready_asset(name="Take.wav")

    answer = api.get(f"/assets/{asset_id}/download?expiresIn=60")

    download = answer.json()
    assert (download["assetId"], download["version"], download["file"], download["method"]) == (
        asset_id,
        1,
        "source",
        "GET",
    )
    assert (download["expiresIn"], download["expiresAt"]) == (60, "2026-01-01T12:01:00Z")
    assert (download["contentType"], download["size"], download["filename"]) == ("audio/wav", 96_044, "Take.wav")
    assert answer.headers["cache-control"] == "no-store"


def test_a_download_can_be_a_redirect_that_nobody_keeps(api):
    answer = api.get(f"/assets/{api.ready_asset()}/download?redirect=1&disposition=inline&version=latest&file=source")

    assert (answer.status_code, answer.content) == (302, b"")
    assert answer.headers["location"].startswith("http://localhost:80/_store/assets/")
    assert answer.headers["cache-control"] == "no-store"


def test_a_version_without_that_file_says_so(api):
    answer = api.get(f"/assets/{api.ready_asset()}/download?file=vocals")

    assert (answer.status_code, answer.json()["code"]) == (404, "file_not_found")


def test_a_pending_asset_has_nothing_to_download(api):
    answer = api.get(f"/assets/{api.pending_asset()}/download")

    assert (answer.status_code, answer.json()["code"]) == (409, "asset_not_ready")
    assert "hint" in answer.json()
