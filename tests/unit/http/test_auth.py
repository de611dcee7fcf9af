"""Who is let in."""

import pytest

KEY = "a-long-secret"


@pytest.fixture
def locked(open_api):
    return open_api(api_key=KEY)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_key_lets_in(locked, scheme):
    assert locked.get("/jobs", headers={"authorization": f"{scheme} {KEY}"}).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        "",
        KEY,
        f"Basic {KEY}",
        "Bearer",
        "Bearer ",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY} {KEY}",
        b"Bearer \xff",
    ],
)
def test_nothing_else_does(locked, given):
    answer = locked.get("/jobs", headers={"authorization": given})

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert KEY not in answer.text


def test_two_keys_are_none(locked):
    fields = [("authorization", f"Bearer {KEY}"), ("authorization", "Bearer other")]

    async def ask():
        import httpx

        transport = httpx.ASGITransport(locked.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/jobs", headers=fields)

    assert locked.run(ask()).status_code == 401


def test_a_key_in_the_query_is_no_key(locked):
    assert locked.get(f"/jobs?api_key={KEY}").status_code == 401


@pytest.mark.parametrize("path", ["/openapi.json", "/healthz", "/readyz", "/startupz"])
def test_some_routes_need_none(locked, path):
    assert locked.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/docs/style.css", "/processors", "/assets", "/nowhere"])
def test_all_others_do(locked, path):
    assert locked.get(path).status_code == 401
    assert locked.request("PATCH", path).status_code == 401


def test_a_signed_url_is_its_own_key(locked):
    key = {"authorization": f"Bearer {KEY}"}
    ticket = locked.post("/uploads/request", {}, headers=key).json()

    answer = locked.request("PUT", ticket["url"].removeprefix("http://localhost:80"), b"x", headers=ticket["headers"])

    assert answer.status_code == 200
