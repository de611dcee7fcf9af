"""`musproj serve` and `musproj work` as processes, driven as a client and an operator do it."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from musproj.cli.sound import make_recording

pytestmark = pytest.mark.timeout(120)

PATIENCE = 30.0
MUSPROJ = (sys.executable, "-m", "musproj")


class Serve:
    """One `musproj serve` on a free port."""

    def __init__(self, folder, *flags, host="127.0.0.1", **environ):
        self.log = folder / "serve.log"
        command = [*MUSPROJ, "serve", "--json", "--port", "0", "--host", host, *flags]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment(**environ), stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.facts = json.loads(self._first_line())
        self.url = self.facts["api"]

    @property
    def worker_pids(self):
        return [pid for pid in children(self.process.pid) if "work" in command_line(pid)]

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def _first_line(self):
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else ""
        assert line, self.log.read_text()
        return line


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MUSPROJ_")}  # noqa: TID251 - a child's
    return {**kept, **more}


def children(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def command_line(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def is_alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def eventually(condition, seconds=PATIENCE):
    """Return the first true answer of `condition`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)
    return answer


@pytest.fixture
def serve(tmp_path):
    started = []

    def start(*flags, **options):
        started.append(Serve(tmp_path, *flags, **options))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop(signal.SIGTERM)
        server.process.stdout.close()


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "take.wav"
    make_recording(path)
    return path


def upload(url, path, **fields):
    with httpx.Client(base_url=url) as client:
        ticket = client.post("/uploads/request", json={"filename": path.name, **fields}).raise_for_status().json()
        client.request(ticket["method"], ticket["url"], headers=ticket["headers"], content=path.read_bytes())
        client.post(f"/uploads/confirm/{ticket['assetId']}").raise_for_status()
    return ticket["assetId"]


def ended_job(url, job_id):
    def look():
        job = httpx.get(f"{url}/jobs/{job_id}").raise_for_status().json()
        return job if job["status"] in ("succeeded", "failed", "cancelled") else None

    return eventually(look)


def test_an_app_uploads_processes_and_downloads_by_signed_urls(serve, recording):
    server = serve()
    with httpx.Client(base_url=server.url) as client:
        ticket = client.post("/uploads/request", json={"filename": "take.wav", "size": recording.stat().st_size}).json()
        put = client.request(ticket["method"], ticket["url"], headers=ticket["headers"], content=recording.read_bytes())
        assert put.status_code == 200
        asset = client.post(f"/uploads/confirm/{ticket['assetId']}").json()
        assert asset["status"] == "ready"

        job = client.post("/jobs", json={"type": "enhance", "assetId": asset["assetId"]}).json()
        ended = ended_job(server.url, job["jobId"])
        assert (ended["status"], ended["createdVersion"]) == ("succeeded", 2)

        download = client.get(f"/assets/{asset['assetId']}/download").json()
        assert download["version"] == 2
        audio = client.get(download["url"])
        assert audio.content[:4] == b"RIFF"
        source = client.get(f"/assets/{asset['assetId']}/download", params={"version": 1}).json()
        assert client.get(source["url"]).content == recording.read_bytes()

    assert server.stop() == 0


def test_the_same_flow_by_curl(serve, recording, require_tool):
    curl, server = require_tool("curl"), serve()

    def ask(*words):
        return subprocess.run([curl, "-fsS", *words], check=True, capture_output=True).stdout

    body = json.dumps({"filename": "take.wav"})
    ticket = json.loads(
        ask("-X", "POST", "-H", "content-type: application/json", "-d", body, f"{server.url}/uploads/request")
    )
    headers = [word for name, value in ticket["headers"].items() for word in ("-H", f"{name}: {value}")]
    ask("-X", ticket["method"], *headers, "--data-binary", f"@{recording}", ticket["url"])
    ask("-X", "POST", f"{server.url}/uploads/confirm/{ticket['assetId']}")
    fetched = ask("-L", f"{server.url}/assets/{ticket['assetId']}/download?redirect=true")

    assert fetched == recording.read_bytes()


def test_the_api_alone_and_a_worker_share_a_folder(serve, recording, tmp_path):
    server = serve("--no-worker")
    assert server.worker_pids == []
    asset_id = upload(server.url, recording)
    job_id = httpx.post(f"{server.url}/jobs", json={"type": "analyze", "assetId": asset_id}).json()["jobId"]

    worker = subprocess.Popen([*MUSPROJ, "work", "-q"], cwd=tmp_path, env=environment())
    try:
        assert ended_job(server.url, job_id)["status"] == "succeeded"
    finally:
        worker.terminate()

    assert worker.wait(PATIENCE) == 0
    assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_drains_both(serve, number):
    server = serve()
    workers = eventually(lambda: server.worker_pids)

    assert server.stop(number) == 0
    assert [pid for pid in workers if is_alive(pid)] == []


def test_a_job_under_way_is_finished_before_the_end(serve, recording):
    server = serve()
    asset_id = upload(server.url, recording)
    job_id = httpx.post(f"{server.url}/jobs", json={"type": "enhance", "assetId": asset_id}).json()["jobId"]
    eventually(lambda: httpx.get(f"{server.url}/jobs/{job_id}").json()["status"] != "queued")

    assert server.stop() == 0

    shown = subprocess.run(
        [*MUSPROJ, "jobs", "show", job_id, "--json"],
        cwd=recording.parent, env=environment(), check=True, capture_output=True,
    )  # fmt: skip
    job = json.loads(shown.stdout)
    assert (job["status"], job["attempts"]) == ("succeeded", 1)


def test_a_killed_server_leaves_no_process(serve):
    server = serve()
    workers = eventually(lambda: server.worker_pids)

    server.process.kill()
    server.process.wait()

    eventually(lambda: not any(is_alive(pid) for pid in workers))


def test_a_killed_worker_is_started_again(serve, recording):
    server = serve()
    (first,) = eventually(lambda: server.worker_pids)

    os.kill(first, signal.SIGKILL)

    (second,) = eventually(lambda: [pid for pid in server.worker_pids if pid != first])
    assert second != first
    asset_id = upload(server.url, recording)
    job_id = httpx.post(f"{server.url}/jobs", json={"type": "analyze", "assetId": asset_id}).json()["jobId"]
    assert ended_job(server.url, job_id)["status"] == "succeeded"
    assert "The worker ended (SIGKILL); it starts again in 1 s." in server.log.read_text()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_open_door_without_a_key_is_refused(host, tmp_path):
    command = [*MUSPROJ, "serve", "--host", host, "--port", "0"]

    refused = subprocess.run(
        command, cwd=tmp_path, env=environment(), check=False, capture_output=True, text=True, timeout=PATIENCE
    )

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error[configuration]: ")
    assert "MUSPROJ_API_KEY" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_with_a_key_only_who_has_it_comes_in(serve):
    server = serve(host="0.0.0.0", MUSPROJ_API_KEY="open-sesame", MUSPROJ_PUBLIC_URL="http://127.0.0.1:1")
    url = f"http://127.0.0.1:{listening_port(server.process.pid)}"

    assert httpx.get(f"{url}/jobs").status_code == 401
    assert httpx.get(f"{url}/jobs", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert httpx.get(f"{url}/jobs", headers={"Authorization": "Bearer open-sesame"}).status_code == 200
    assert httpx.get(f"{url}/healthz").status_code == 200


def listening_port(pid):
    """Return the TCP port on which a process listens, as the kernel tells it (proc(5), /proc/net/tcp)."""
    sockets = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
            return int(fields[1].rpartition(":")[2], 16)
    raise AssertionError(f"process {pid} listens nowhere")


def test_a_taken_port_is_told(serve, tmp_path):
    taken = serve("--no-worker").url.rpartition(":")[2]
    command = [*MUSPROJ, "serve", "--port", taken, "--data", "elsewhere"]

    refused = subprocess.run(
        command, cwd=tmp_path, env=environment(), check=False, capture_output=True, text=True, timeout=PATIENCE
    )

    assert refused.returncode == 2
    assert refused.stderr.startswith("error[configuration]: ")
    assert taken in refused.stderr
