import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from musproj import Settings


def test_the_plain_script(root, folder, take, worker):
    subprocess.run([sys.executable, str(root / "examples/embed_script.py"), str(take), "out.wav"], check=True)

    import soundfile

    assert soundfile.info("out.wav").frames == soundfile.info(take).frames


async def _flow(client, take):
    started = (await client.post("/recordings", headers={"x-user": "ada"})).json()
    put = await client.put(started["put"], content=take.read_bytes(), headers=started["headers"])
    assert put.status_code == 200, put.text
    path = f"/recordings/{started['recording']}"
    assert (await client.post(f"{path}/done", headers={"x-user": "eve"})).json()["error"] == "asset_not_found"
    assert (await client.post(f"{path}/done", headers={"x-user": "ada"})).json()["status"] == "ready"
    return (await client.post(f"{path}/analyze", headers={"x-user": "ada"})).status_code


def test_the_service(folder, take):
    import asyncio

    from examples.embed_service import make_app

    settings = Settings.load({"public_url": "http://127.0.0.1/audio"}, {})

    async def run():
        app = make_app(settings)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await _flow(client, take)

    assert asyncio.run(run()) == 202


def test_the_service_as_its_first_lines_start_it(root, folder, take, monkeypatch, free_port, wait_for, running):
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setenv("MUSPROJ_PUBLIC_URL", f"http://127.0.0.1:{free_port}/audio")
    monkeypatch.setenv("MUSPROJ_DATA", str(folder / "data"))
    script = str(Path(sys.executable).with_name("uvicorn"))
    command = [script, "--factory", "examples.embed_service:make_app", "--port", str(free_port), "--log-level", "error"]
    with running(command, cwd=root):
        wait_for(f"http://127.0.0.1:{free_port}/audio/healthz")
        started = httpx.post(f"http://127.0.0.1:{free_port}/recordings").json()
        assert httpx.put(started["put"], content=take.read_bytes(), headers=started["headers"]).status_code == 200


def test_the_processor_in_one_file(root, folder, take, monkeypatch):
    monkeypatch.delenv("PYTHONPATH")
    script = str(Path(sys.executable).with_name("musproj"))
    command = [script, "run", "examples.tremolo:tremolo", str(take), "-o", str(folder / "wobbly.wav"), "-p", "rateHz=6"]
    done = subprocess.run([*command, "--json"], cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["rateHz"] == 6
    assert (folder / "wobbly.wav").stat().st_size > 1_000


def test_the_processor_by_its_name_from_a_setting(folder, take, monkeypatch):
    from musproj import DEFAULT_OWNER, InputRef, JobSpec, JobStatus, MusProj

    monkeypatch.setenv("MUSPROJ_PROCESSORS", "examples.tremolo:tremolo")
    with MusProj.open() as mp:
        asset = mp.uploads.put_file(DEFAULT_OWNER, take)
        spec = JobSpec(type="tremolo", inputs={"input": InputRef(asset_id=asset.asset_id)})
        job = mp.jobs.submit(DEFAULT_OWNER, spec).job
        subprocess.run([sys.executable, "-m", "musproj", "work", "--burst"], check=True, timeout=60)
        assert mp.jobs.get(DEFAULT_OWNER, job.job_id).status is JobStatus.SUCCEEDED
        assert mp.assets.version(DEFAULT_OWNER, asset.asset_id).kind == "tremolo"


@pytest.fixture(autouse=True)
def _importable(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root))
