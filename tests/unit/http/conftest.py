import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import attrs
import httpx
import pytest
from attrs.validators import ge, le

from musproj import DEFAULT_OWNER, MusProj, Settings
from musproj.domain.ledger import Failure, FailureKind, Granted
from musproj.http.app import MusProjApp, create_app
from musproj.ports.jobs import Publication
from musproj.ports.processor import Outcome, Port, ProcessorSpec
from musproj.testing.clock import FakeClock
from musproj.testing.parts import FakeMultipartUploads
from musproj.testing.records import made_attachment, made_version, new_asset, new_worker, source_version


@attrs.frozen(kw_only=True)
class GainParams:
    gain_db: float = attrs.field(default=0.0, validator=[ge(-60.0), le(60.0)], metadata={"unit": "dB"})
    passes: int = attrs.field(default=1, validator=ge(1))


@attrs.frozen
class FakeProcessor:
    spec: ProcessorSpec

    def run(self, inputs, params, ctx):
        return Outcome()


ENHANCED = (Port("enhanced", "enhanced"),)
PROCESSORS = tuple(
    FakeProcessor(spec)
    for spec in (
        ProcessorSpec(name="gain", version="1", params=GainParams, outputs=ENHANCED, moves_head=True),
        ProcessorSpec(name="measure", version="1", params=GainParams, publishes="result"),
        ProcessorSpec(name="mix", version="1", params=GainParams, inputs=(Port("left", "a"), Port("right", "b"))),
    )
)
TYPES = [processor.spec.name for processor in PROCESSORS]
WORKER = new_worker(types=TYPES)


@attrs.define(kw_only=True)
class Api:
    """The app over memory records and a folder, called on a loop of its own."""

    mp: MusProj
    clock: FakeClock
    app: MusProjApp
    runner: asyncio.Runner

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return self.run(self.send(method, path, body, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return self.request("POST", path, body, **options)

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    async def send(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Send one request; `headers` override those that a body brings."""
        fields = dict(options.pop("headers", {}))
        if body is not None:
            fields = {"content-type": "application/json", **fields}
            options["content"] = body if isinstance(body, bytes) else json.dumps(body).encode()
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers=fields, **options)

    # ── what the routes are asked for ──

    def ready_asset(self, owner: str = DEFAULT_OWNER, **changes: Any) -> str:
        asset = new_asset(self.clock.now(), owner=owner, **changes)
        store = self.mp.metadata.assets
        store.create(asset)
        store.confirm(owner, asset.asset_id, source_version(asset, self.clock.now()), ())
        return asset.asset_id

    def pending_asset(self, owner: str = DEFAULT_OWNER) -> str:
        asset = new_asset(self.clock.now(), owner=owner)
        self.mp.metadata.assets.create(asset)
        return asset.asset_id

    def job(self, asset_id: str | None = None, **body: Any) -> str:
        answer = self.post("/jobs", {"type": "gain", "assetId": asset_id or self.ready_asset(), **body})
        assert answer.status_code == 202, answer.text
        return answer.json()["jobId"]

    def begin(self) -> Granted:
        granted = self.mp.queue.claim(WORKER)
        assert granted is not None
        return granted

    def succeed(self, granted: Granted, *, attach: str | None = None) -> None:
        """Publish what the job makes: a version, or an attachment of that name."""
        job, store = granted.job, self.mp.metadata.jobs
        asset = self.mp.metadata.assets.get(job.owner, job.asset_id)
        if attach:
            attachment = made_attachment(asset, job, self.clock.now(), attach)
            publication = Publication(attachments=(attachment,), result={"made": attach})
        else:
            number = store.reserve(job.job_id, granted.token).number
            version = made_version(asset, job, number, self.clock.now())
            publication = Publication(version=version, moves_head=True, result={"gain": 1.5})
        store.commit(job.job_id, granted.token, publication)

    def fail(self, granted: Granted) -> None:
        failure = Failure(kind=FailureKind.PERMANENT, code="not_audio", message="It is a picture.")
        self.mp.metadata.jobs.release(granted.job.job_id, granted.token, failure)


OpenApi = Callable[..., Api]


@pytest.fixture
def open_api(tmp_path) -> Iterator[OpenApi]:
    """Open an app; keywords are settings, but `authenticate`, `clock`, `processors`, and `parts`: takes parts."""
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())

        def open_it(**options: Any) -> Api:
            authenticate = options.pop("authenticate", None)
            clock = options.pop("clock", None) or FakeClock()
            processors = options.pop("processors", PROCESSORS)
            parts = options.pop("parts", False)
            settings = Settings(
                **{
                    "data": tmp_path,
                    "metadata": "memory:",
                    "queue": "memory:",
                    "signing_key": "k" * 64,
                    "port": 80,
                    "host": "localhost",
                    **options,
                }
            )
            mp = stack.enter_context(MusProj.open(settings, processors=processors, clock=clock))
            if parts:
                store = FakeMultipartUploads(mp.opened_storage.storage, clock)
                mp = attrs.evolve(mp, uploads=attrs.evolve(mp.uploads, multipart=store))
            app = create_app(mp, authenticate=authenticate, background=False)
            stack.callback(app.site.pools.close)
            stack.callback(lambda: runner.run(app.site.watcher.close()))
            return Api(mp=mp, clock=clock, app=app, runner=runner)

        yield open_it


@pytest.fixture
def api(open_api) -> Api:
    return open_api()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def hour() -> timedelta:
    return timedelta(hours=1)
