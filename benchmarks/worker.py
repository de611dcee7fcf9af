"""What a worker costs: submit to done, no-op jobs per second, and the core it takes while nothing happens.

    python benchmarks/worker.py [--jobs N] [--idle SECONDS]

Everything runs through real processes on an embedded installation with durable writes. Compare the figures of one
run with each other; those of two machines say nothing. A fork and an fsync of the same machine stand beside them.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from musproj import MusProj
from musproj.domain.ids import AssetId
from musproj.domain.job import Job
from musproj.testing.workers import Installation, WorkerProcess, add_asset, submit, wait_for_end

TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200, help="no-op jobs per rate")
    parser.add_argument("--latencies", type=int, default=40, help="jobs submitted one by one")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of doing nothing")
    asked = parser.parse_args()
    show("fork + exit + wait of this process", milliseconds(fork_costs(50)))
    with tempfile.TemporaryDirectory(prefix="musproj-bench-") as folder:
        show("write + fsync of 4 KiB", milliseconds(fsync_costs(Path(folder), 50)))
        installation = Installation(folder=Path(folder), lease_s=30.0)
        with installation.opened() as mp:
            asset_id = add_asset(mp)
            for slots in (1, 2):
                show(
                    f"no-op jobs, {slots} at once", f"{rate(installation, mp, asset_id, asked.jobs, slots):.1f} jobs/s"
                )
            with installation.worker(concurrency=1) as worker:
                worker.wait_for("worker_started")
                one_by_one(worker, mp, asset_id, asked.latencies)
                show("idle, calm after a job", f"{cpu_percent(worker.pid, asked.idle):.2f} % of a core")
            with installation.worker(concurrency=1) as worker:
                worker.wait_for("worker_started")
                time.sleep(1)
                show("idle, nothing ever ran", f"{cpu_percent(worker.pid, asked.idle):.2f} % of a core")


def rate(installation: Installation, mp: MusProj, asset_id: AssetId, count: int, slots: int) -> float:
    """Return jobs per second between the first and the last end."""
    jobs = [submit(mp, asset_id, "look", seed=n) for n in range(count)]
    with installation.worker(concurrency=slots, burst=True) as worker:
        worker.wait(600)
    ends = sorted(seconds_at_end(job) for job in wait_for_end(mp, *jobs))
    return (count - 1) / (ends[-1] - ends[0])


def one_by_one(worker: WorkerProcess, mp: MusProj, asset_id: AssetId, count: int) -> None:
    """Show how long a job takes from its submit, and from its start, when the worker has nothing else to do."""
    whole = []
    for seed in range(count):
        time.sleep(0.05)
        (job,) = wait_for_end(mp, submit(mp, asset_id, "look", seed=-seed - 1))
        whole.append(seconds_at_end(job) - job.created_at.timestamp())
    begun = [event["at"] for event in worker.events("job_begun")]
    done = [event["at"] for event in worker.events("job_committed")]
    show("submit to done, idle worker", milliseconds(whole))
    show("start to done (fork, run, commit)", milliseconds([b - a for a, b in zip(begun, done, strict=True)]))


def seconds_at_end(job: Job) -> float:
    assert job.finished_at is not None
    return job.finished_at.timestamp()


def cpu_percent(pid: int, seconds: float) -> float:
    """Return the share of a core that `pid` took over `seconds`."""
    before = cpu_ticks(pid)
    time.sleep(seconds)
    return 100 * (cpu_ticks(pid) - before) / TICKS / seconds


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def fork_costs(count: int) -> list[float]:
    costs = []
    for _ in range(count):
        begun = time.perf_counter()
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
        costs.append(time.perf_counter() - begun)
    return costs


def fsync_costs(folder: Path, count: int) -> list[float]:
    costs = []
    with (folder / "fsync").open("wb") as target:
        for _ in range(count):
            begun = time.perf_counter()
            target.write(bytes(4096))
            target.flush()
            os.fsync(target.fileno())
            costs.append(time.perf_counter() - begun)
    return costs


def milliseconds(values: list[float]) -> str:
    ordered = sorted(1000 * value for value in values)
    return f"median {statistics.median(ordered):6.1f} ms, p95 {ordered[int(0.95 * (len(ordered) - 1))]:6.1f} ms"


def show(name: str, text: str) -> None:
    print(f"{name:38} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
