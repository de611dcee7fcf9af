import io
import wave
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from attrs.validators import ge, le

from musproj.adapters.memory import MemoryAssetStore, MemoryJobQueue, MemoryJobStore, MemoryState, MemoryStorage
from musproj.application.assets import Assets
from musproj.application.gc import Collector
from musproj.application.jobs import Jobs
from musproj.application.uploads import UploadPolicy, Uploads
from musproj.application.verify import Verifier
from musproj.domain.ledger import Rules
from musproj.errors import AudioCorruptError
from musproj.ports.processor import AudioInfo, AudioProbe, Outcome, Port, ProcessorSpec
from musproj.ports.storage import SignedRequest, SignedUrls
from musproj.registry import ProcessorCatalog
from musproj.testing.clock import FakeClock


@attrs.frozen(kw_only=True)
class GainParams:
    gain_db: float = attrs.field(default=0.0, validator=[ge(-60.0), le(60.0)], metadata={"unit": "dB"})


@attrs.frozen
class FakeProcessor:
    spec: ProcessorSpec

    def run(self, inputs, params, ctx):
        return Outcome()


GAIN = FakeProcessor(ProcessorSpec(name="gain", version="1", params=GainParams, outputs=(Port("gained", "gained"),)))
PAID = FakeProcessor(ProcessorSpec(name="paid", version="1", params=GainParams, paid=True))
MIX = FakeProcessor(
    ProcessorSpec(name="mix", version="1", params=GainParams, inputs=(Port("left", "a"), Port("right", "b")))
)


@attrs.frozen
class FakeSignedUrls(SignedUrls):
    clock: FakeClock
    needs_size: bool = False
    max_put_bytes: int | None = None

    def sign_put(self, key, *, content_type, size, sha256, expires_in):
        headers = {"content-type": content_type, "if-none-match": "*"}
        return self._request("PUT", key, headers, expires_in)

    def sign_get(self, key, *, filename, content_type, expires_in, inline=False):
        return self._request("GET", f"{key}?{filename}&{content_type}&{inline}", {}, expires_in)

    def _request(self, method, path, headers, expires_in):
        return SignedRequest(
            method=method, url=f"https://store/{path}", headers=headers, expires_at=self.clock.now() + expires_in
        )


class WaveProbe(AudioProbe):
    """Reads WAV by the standard library; other containers have no decoder here."""

    def probe(self, path: Path) -> AudioInfo:
        data = path.read_bytes()
        if not data.startswith(b"RIFF"):
            return AudioInfo(container="m4a", size_bytes=len(data))
        try:
            with wave.open(io.BytesIO(data)) as audio:
                return AudioInfo(
                    container="wav",
                    sample_rate=audio.getframerate(),
                    channels=audio.getnchannels(),
                    frames=audio.getnframes(),
                    size_bytes=len(data),
                )
        except (wave.Error, EOFError) as exc:
            raise AudioCorruptError("The header is damaged.") from exc

    def close(self) -> None:
        pass


@attrs.frozen(kw_only=True)
class World:
    """One installation in memory."""

    clock: FakeClock
    storage: MemoryStorage
    asset_store: MemoryAssetStore
    job_store: MemoryJobStore
    queue: MemoryJobQueue
    uploads: Uploads
    assets: Assets
    jobs: Jobs
    collector: Collector

    def put(self, asset, data: bytes):
        return self.storage.put(
            asset.upload.object_key, io.BytesIO(data), size=len(data), content_type=asset.upload.content_type
        )


def wav_bytes(seconds: float = 0.1, rate: int = 8_000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as audio:
        audio.setparams((1, 2, rate, 0, "NONE", ""))
        audio.writeframes(b"\1\0" * round(seconds * rate))
    return buffer.getvalue()


@pytest.fixture
def world() -> World:
    clock = FakeClock()
    state, rules = MemoryState(), Rules()
    storage = MemoryStorage(clock)
    asset_store = MemoryAssetStore(state, clock)
    job_store = MemoryJobStore(state, clock, rules)
    catalog = ProcessorCatalog(extra=(GAIN, PAID, MIX))
    signed = FakeSignedUrls(clock)
    policy = UploadPolicy(max_bytes=10_000, max_duration_s=2.0, url_life=timedelta(hours=1))
    verifier = Verifier(
        storage=storage, local_files=None, probe=WaveProbe(), max_bytes=policy.max_bytes, max_duration_s=2.0
    )
    return World(
        clock=clock,
        storage=storage,
        asset_store=asset_store,
        job_store=job_store,
        queue=MemoryJobQueue(state, clock, rules, "audio-jobs"),
        uploads=Uploads(
            assets=asset_store,
            storage=storage,
            signed_urls=signed,
            verifier=verifier,
            catalog=catalog,
            clock=clock,
            policy=policy,
        ),
        assets=Assets(assets=asset_store, storage=storage, signed_urls=signed, clock=clock),
        jobs=Jobs(jobs=job_store, assets=asset_store, catalog=catalog, clock=clock),
        collector=Collector(assets=asset_store, jobs=job_store, storage=storage, clock=clock),
    )


@pytest.fixture
def audio():
    return wav_bytes


@pytest.fixture
def ready(world):
    """Upload and confirm; return the ready asset."""

    def make(owner="default", data: bytes | None = None, **fields):
        from musproj.application.uploads import UploadSpec

        ticket = world.uploads.request(owner, UploadSpec(filename="take.wav", **fields))
        world.put(ticket.asset, data or wav_bytes())
        return world.uploads.confirm(owner, ticket.asset.asset_id)

    return make
