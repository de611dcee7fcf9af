"""What surrounds every route."""

import logging

import pytest

from musproj.http.middleware import Envelope

SAFE = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


@pytest.mark.parametrize("path", ["/healthz", "/jobs", "/nowhere", "/_store/nothing", "/docs", "/openapi.json"])
def test_every_answer_has_an_id_and_safe_headers_once(api, path):
    answer = api.get(path)

    assert SAFE.items() <= dict(answer.headers).items()
    for name in (*SAFE, "x-request-id", "cache-control"):
        assert len(answer.headers.get_list(name)) == 1, name


def test_a_given_request_id_is_echoed_if_it_is_harmless(api):
    assert api.get("/healthz", headers={"x-request-id": "abc-1_2.3"}).headers["x-request-id"] == "abc-1_2.3"
    for harmful in ("a b", "x" * 65, "é", "<a>"):
        answer = api.get("/healthz", headers={"x-request-id": harmful.encode()})
        assert answer.headers["x-request-id"].startswith("req_")


def test_request_ids_differ(api):
    assert len({api.get("/healthz").headers["x-request-id"] for _ in range(20)}) == 20


def test_a_request_is_logged_in_one_line_without_ids_or_query(api, caplog):
    with caplog.at_level(logging.INFO, logger="musproj.http"):
        answer = api.get("/jobs/job_1?wait=1&secret=x")

    (record,) = [record for record in caplog.records if record.action == "request_served"]
    assert (record.route, record.status, record.method) == ("/jobs/{jobId}", 422, "GET")
    assert record.requestId == answer.headers["x-request-id"]
    assert "secret" not in str(vars(record))


def test_a_signed_url_is_in_no_log(api, caplog):
    with caplog.at_level(logging.DEBUG):
        ticket = api.post("/uploads/request", {"filename": "a.wav"}).json()
        api.request("PUT", ticket["url"].removeprefix("http://localhost:80"), b"x", headers={"content-type": "a/b"})
    ours = [record for record in caplog.records if record.name.startswith("musproj")]

    assert ours
    assert not any("sig=" in str(vars(record)) for record in ours)


def test_a_bug_is_logged_with_its_traceback_under_the_request_id(api, caplog):
    def broken(*_args):
        raise ZeroDivisionError("in the store")

    api.mp.metadata.jobs.get = broken

    answer = api.get("/jobs/job_1")

    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (answer.status_code, record.requestId) == (500, answer.json()["requestId"])
    assert record.exc_info[0] is ZeroDivisionError
    assert "in the store" not in answer.text


# ── hosts ──


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8700", "127.0.0.1:9", "[::1]:8700", "localhost."])
def test_without_a_key_the_names_of_this_host_are_served(api, host):
    assert api.get("/jobs", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "", "[::2]", "[", "a@localhost"]
)
def test_without_a_key_any_other_name_is_refused(api, host):
    """A page whose name was made to point to this host must not reach the API through the user's browser."""
    answer = api.get("/jobs", headers={"host": host})

    assert (answer.status_code, answer.json()["code"]) == (421, "misdirected_request")
    assert "MUSPROJ_ALLOWED_HOSTS" in answer.json()["hint"]


def test_allowed_and_public_hosts_are_served(open_api):
    api = open_api(allowed_hosts=("api.example.com", "*.internal"), public_url="https://public.example/x")

    for host in ("api.example.com", "public.example:443", "a.b.internal"):
        assert api.get("/jobs", headers={"host": host}).status_code == 200
    for host in ("example.com", "internal", "evilinternal"):
        assert api.get("/jobs", headers={"host": host}).status_code == 421


def test_with_a_key_any_host_is_served_unless_some_are_named(open_api):
    key = {"authorization": "Bearer secret"}

    assert open_api(api_key="secret").get("/jobs", headers={**key, "host": "any.example"}).status_code == 200
    strict = open_api(api_key="secret", allowed_hosts=("api.example.com",))
    assert strict.get("/jobs", headers={**key, "host": "any.example"}).status_code == 421


# ── CORS ──

ORIGIN = "https://app.example.com"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}


def test_a_listed_origin_may_call(open_api):
    api = open_api(cors_origins=(ORIGIN,))

    preflight = api.request("OPTIONS", "/jobs", headers={"origin": ORIGIN, **PREFLIGHT})
    answer = api.get("/jobs/job_1", headers={"origin": ORIGIN})

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "Idempotency-Key" in preflight.headers["access-control-allow-headers"]
    assert preflight.headers["access-control-max-age"] == "600"
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (404, ORIGIN)
    assert "ETag" in answer.headers["access-control-expose-headers"]
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["null", "https://evil.example", "https://app.example.com.evil", "http://app.example.com", "*"]
)
@pytest.mark.parametrize("origins", [(ORIGIN,), (ORIGIN, "null", "*"), ()])
def test_no_other_origin_may(open_api, origin, origins):
    api = open_api(cors_origins=origins)

    for answer in (
        api.request("OPTIONS", "/jobs", headers={"origin": origin, **PREFLIGHT}),
        api.get("/jobs", headers={"origin": origin}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]


# ── prefix and public URL ──


def test_a_root_path_is_before_every_route_and_every_link(open_api):
    api = open_api(root_path="/audio")
    job = api.post("/audio/jobs", {"type": "gain", "assetId": api.ready_asset()})

    assert job.headers["location"] == f"/audio/jobs/{job.json()['jobId']}"
    assert api.get(job.headers["location"]).status_code == 200
    assert api.get("/jobs").status_code == 404
    assert api.get("/audiojobs").status_code == 404
    assert api.get("/audio/healthz", headers={"host": "10.0.0.1"}).status_code == 200
    api.ready_asset()
    assert api.get("/audio/assets?limit=1").headers["link"].startswith("</audio/assets?limit=1&cursor=")
    ticket = api.post("/audio/uploads/request", {}).json()
    assert ticket["url"].startswith("http://localhost:80/audio/_store/")
    assert (
        api.request(
            "PUT", ticket["url"].removeprefix("http://localhost:80"), b"x", headers=ticket["headers"]
        ).status_code
        == 200
    )


def test_links_lead_under_the_public_url(open_api):
    api = open_api(public_url="https://example.com/api/")

    job = api.post("/jobs", {"type": "gain", "assetId": api.ready_asset()})

    assert job.headers["location"] == f"/api/jobs/{job.json()['jobId']}"


def test_a_websocket_is_refused(api):
    sent = []

    async def connect():
        async def send(message):
            sent.append(message)

        await api.app({"type": "websocket", "path": "/jobs", "headers": []}, None, send)

    api.run(connect())

    assert sent == [{"type": "websocket.close", "code": 1000}]


@pytest.mark.parametrize("path", ["/jobs/", "//jobs", "/Jobs", "/jobs/a/b/c", "/", "", "/jobs/%2e%2e/assets"])
def test_a_path_is_what_it_is(api, path):
    assert api.get(path).status_code in (404, 422)


def test_an_answer_that_breaks_half_way_is_cut_and_not_mended(api, caplog):
    """The client has its status already; only the server can tell it, by hanging up."""

    async def broken(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    sent = []

    async def call():
        async def send(message):
            sent.append(message["type"])

        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        await Envelope(broken)(scope, None, send)

    with pytest.raises(ZeroDivisionError):
        api.run(call())

    assert sent == ["http.response.start"]


def test_the_lifespan_passes_through_every_layer(open_api):
    api = open_api(cors_origins=(ORIGIN,), root_path="/x")
    sent = []

    async def live():
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive():
            return next(messages)

        async def send(message):
            sent.append(message["type"])

        await api.app({"type": "lifespan", "state": {}}, receive, send)

    api.run(live())

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
