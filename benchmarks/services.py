"""Work at outside services, against the fakes: memory of a large input, and many jobs at once.

Usage: python benchmarks/services.py [--megabytes N] [--jobs N]

Real workers, an embedded installation, and both fakes in a process of their own. Memory is the most that the job's
process ever held (VmHWM), beside that of the same job on a small file.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import wave
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musproj import DEFAULT_OWNER, JobStatus, MusProj, Settings
from musproj.application.jobs import InputRef, JobSpec
from musproj.application.uploads import UploadSpec
from musproj.domain.job import Job
from musproj.domain.remote import RemotePhase

RATE, CHANNELS, WIDTH = 44_100, 2, 3
SMALL_MB = 1


@contextmanager
def fakes(**options: object) -> Generator[str]:
    """Run both fakes and yield their address."""
    command = [sys.executable, "-m", "musproj.testing.fakes", "--port", "0", "--options", json.dumps(options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own interpreter and module
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


@contextmanager
def worker(settings: Settings, slots: int) -> Generator[int]:
    """Run a worker and yield its pid."""
    environment = os.environ | {  # noqa: TID251 - of a process of its own
        "MUSPROJ_DATA": str(settings.data),
        "MUSPROJ_LALAL_URL": settings.lalal_url,
        "MUSPROJ_LALAL_KEY": settings.lalal_key,
        "MUSPROJ_AUPHONIC_URL": settings.auphonic_url,
        "MUSPROJ_AUPHONIC_KEY": settings.auphonic_key,
        "MUSPROJ_PRIVATE_HOSTS": ",".join(settings.private_hosts),
    }
    command = [sys.executable, "-m", "musproj", "work", "--concurrency", str(slots), "-q"]
    process = subprocess.Popen(command, env=environment)  # noqa: S603 - our own interpreter and module
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


class Peaks(threading.Thread):
    """The most memory that each child of a process ever held, MiB."""

    def __init__(self, parent: int) -> None:
        super().__init__(daemon=True)
        self.parent = parent
        self.peaks: dict[int, int] = {}
        self.start()

    def run(self) -> None:
        """Look, and look again."""
        while True:
            for child in self.children():
                try:
                    status = Path(f"/proc/{child}/status").read_text()
                except OSError:
                    continue
                for line in status.splitlines():
                    if line.startswith("VmHWM"):
                        self.peaks[child] = int(line.split()[1]) >> 10
            time.sleep(0.02)

    def children(self) -> list[int]:
        """Return the processes that it has now."""
        try:
            text = Path(f"/proc/{self.parent}/task/{self.parent}/children").read_text()
        except OSError:
            return []
        return [int(pid) for pid in text.split()]


def settings_for(folder: Path, url: str) -> Settings:
    port = url.rpartition(":")[2]
    return Settings(
        data=folder,
        lalal_url=f"{url}/api/v1/",
        lalal_key="k",
        auphonic_url=f"{url}/api",
        auphonic_key="k",
        private_hosts=(f"127.0.0.1:{port}", f"localhost:{port}"),
    )


def tone(path: Path, megabytes: float) -> Path:
    """Write a WAV of that size."""
    block = bytes(i % 251 for i in range(CHANNELS * WIDTH * RATE))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(CHANNELS)
        file.setsampwidth(WIDTH)
        file.setframerate(RATE)
        for _ in range(max(1, round(megabytes * 1e6 / len(block)))):
            file.writeframesraw(block)
    return path


def upload(mp: MusProj, path: Path) -> Any:
    ticket = mp.uploads.request(DEFAULT_OWNER, UploadSpec(filename=path.name, size=path.stat().st_size))
    with path.open("rb") as source:
        mp.opened_storage.storage.put(
            ticket.asset.upload.object_key, source, size=path.stat().st_size, content_type="audio/wav"
        )
    mp.uploads.confirm(DEFAULT_OWNER, ticket.asset.asset_id)
    return ticket.asset.asset_id


def submit(mp: MusProj, asset: Any, kind: str, **params: object) -> Job:
    spec = JobSpec(type=kind, inputs={"input": InputRef(asset_id=asset)}, params=params, force=True)
    return mp.jobs.submit(DEFAULT_OWNER, spec).job


def large_inputs(megabytes: float) -> None:
    """Print what a job's process holds that sends and fetches a large file."""
    with tempfile.TemporaryDirectory() as name, fakes(keep_bodies=False, short_results=False) as url:
        settings = settings_for(Path(name) / "data", url)
        with MusProj.open(settings) as mp, worker(settings, 1) as pid:
            assets = {mb: upload(mp, tone(Path(name) / f"{mb}.wav", mb)) for mb in (SMALL_MB, megabytes)}
            for kind in ("lalal", "auphonic"):
                for mb, asset in assets.items():
                    peaks = Peaks(pid)
                    begun = time.monotonic()
                    poller = set(peaks.children())
                    job = mp.jobs.wait(DEFAULT_OWNER, submit(mp, asset, kind).job_id, timeout=900)
                    held = max((peak for child, peak in peaks.peaks.items() if child not in poller), default=0)
                    seconds = time.monotonic() - begun
                    print(f"{kind:9} {mb:6g} MB: {job.status}, {seconds:5.1f} s, the job's process held {held} MiB")


def many_jobs(count: int) -> None:
    """Print how often a service is asked for many jobs at once, and how many hold a worker meanwhile."""
    with tempfile.TemporaryDirectory() as name, fakes(mode="clock", queue_seconds=20) as url:
        settings = settings_for(Path(name) / "data", url)
        with MusProj.open(settings) as mp, worker(settings, 2):
            asset = upload(mp, tone(Path(name) / "one.wav", SMALL_MB))
            begun = time.monotonic()
            jobs = [submit(mp, asset, "lalal") for _ in range(count)]
            held = _watch(mp, jobs)
            seconds = time.monotonic() - begun
            ends = mp.metadata.jobs.counts()
        with urllib.request.urlopen(f"{url}/_fake/state") as answer:  # noqa: S310 - of the fake
            state = json.load(answer)
    times = sorted(call["t"] for call in state["calls"] if call["path"] == "/api/v1/check/")
    busiest = max(sum(start <= at < start + 60 for at in times) for start in times)
    print(
        f"{count} LALAL jobs: {ends[JobStatus.SUCCEEDED]} succeeded in {seconds:.0f} s, {len(state['bills'])} billed, "
        f"{state['max_concurrent']} there at once; {len(times)} checks, at most {busiest} in 60 s; "
        f"workers held while all wait: {held}"
    )


def _watch(mp: MusProj, jobs: list[Job]) -> int:
    """Return the most jobs that held a worker while every one that had not ended was with the service."""
    held = 0
    while True:
        now = [mp.jobs.get(DEFAULT_OWNER, job.job_id) for job in jobs]
        live = [job for job in now if not job.is_terminal]
        if not live:
            return held
        if all(job.remote is not None and job.remote.phase is RemotePhase.SUBMITTED for job in live):
            held = max(held, sum(job.status is JobStatus.RUNNING for job in live))
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--jobs", type=int, default=50)
    options = parser.parse_args()
    many_jobs(options.jobs)
    large_inputs(options.megabytes)


if __name__ == "__main__":
    main()
