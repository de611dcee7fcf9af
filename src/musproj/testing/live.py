"""Settle by a live account what no document of a service tells, at the price of the shortest job.

    python -m musproj.testing.live auphonic     about 0.05 credit hours
    python -m musproj.testing.live lalal        about 0.1 minutes

It takes the keys that the settings name, asks before it buys anything (`--yes` answers), prints one line per question,
and deletes what it made. Against the fakes it shows what they assume.
"""

import argparse
import math
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import attrs

from musproj.adapters.services.auphonic import Auphonic
from musproj.adapters.services.lalal import Lalal
from musproj.domain.ids import new_job_id
from musproj.domain.remote import Cost, RemoteOp, RemotePhase, operation_token
from musproj.ports.remote import CallError, RemoteInput, RemoteOutput, RemoteService, RemoteState
from musproj.processors._runs.auphonic_params import AuphonicParams
from musproj.processors._runs.lalal_params import LalalParams
from musproj.processors.auphonic import auphonic_task
from musproj.processors.lalal import lalal_task
from musproj.services import ConfiguredServices
from musproj.settings import Settings

Fact = tuple[str, str]

SECONDS, RATE = 3, 44_100
WAIT_S = 1_200.0
LARGEST = 64 << 20
UNKNOWN = "11111111-2222-4333-8444-555555555555"


def auphonic_facts(service: Auphonic, source: RemoteInput, poll_s: float) -> Iterator[Fact]:
    """Yield what Auphonic does; the production is deleted in the end."""
    task = auphonic_task(AuphonicParams())
    op = service.create(_new_op("auphonic", service.estimate(task, source.duration)), task, source, None)
    try:
        yield "a draft without metadata", f"accepted, phase {op.phase}"
        found = service.find(attrs.evolve(op, remote_id=None))
        yield "found by its output_basename", "yes" if found and found.remote_id == op.remote_id else "no"
        op = service.upload(op, task, source)
        again = service.find(op)
        yield "phase after the upload", str(again.phase if again else "gone")
        op = service.submit(op, task, source, None).enter(RemotePhase.SUBMITTED)
        yield "start of a production that runs", _said(lambda: service.submit(op, task, source, None))
        yield from _result(service, op, poll_s)
        yield "start of a finished production", _said(lambda: service.submit(op, task, source, None))
    finally:
        service.cleanup(attrs.evolve(op, phase=RemotePhase.CANCELLED))
    yield "deleted twice", _said(lambda: service.cleanup(op))
    left, unit = _left(service)
    yield "left on the account", f"{left:.4g} {unit}"


def lalal_facts(service: Lalal, source: RemoteInput, poll_s: float) -> Iterator[Fact]:
    """Yield what LALAL.AI does; the source is deleted in the end."""
    task = lalal_task(LalalParams())
    op = service.upload(_new_op("lalal", service.estimate(task, source.duration)), task, source)
    try:
        before, unit = _left(service)
        op = service.submit(op, task, source, None)
        second = _said(lambda: service.submit(op, task, source, None).remote_id)
        yield "the same key at once", "the same task" if second == op.remote_id else second
        yield "known to check at once", str(service.poll([op])[op.token].state.value)
        yield from _result(service, op, poll_s)
        yield "the same key after the end", _said(lambda: service.submit(op, task, source, None).remote_id)
        after, _ = _left(service)
        yield f"{unit}s taken for {SECONDS} s", f"{before - after:.4g}"
    finally:
        service.cleanup(op)
    lost = attrs.evolve(op, upload_ref=UNKNOWN, token=operation_token(new_job_id(datetime.now(UTC))))
    yield "a split of an unknown source", _said(lambda: service.submit(lost, task, source, None))
    yield "deleting an unknown source", _said(lambda: service.cleanup(lost))


def _left(service: RemoteService) -> tuple[float, str]:
    return service.balance() or (math.nan, "unit")


def _result(service: RemoteService, op: RemoteOp, poll_s: float) -> Iterator[Fact]:
    deadline = time.monotonic() + WAIT_S
    seen: list[str] = []
    update = service.poll([op])[op.token]
    while update.state in (RemoteState.QUEUED, RemoteState.RUNNING) and time.monotonic() < deadline:
        seen.append(update.state.value)
        time.sleep(poll_s)
        update = service.poll([op])[op.token]
    yield "states", ", ".join(dict.fromkeys([*seen, update.state.value]))
    if update.fault is not None:
        yield "fault", update.fault.message
    yield "billed", "not told" if update.actual is None else f"{update.actual:.4g} {op.cost.unit}"
    for output in service.outputs(op) if update.state is RemoteState.FINISHED else ():
        yield from _download(service, output)


def _download(service: RemoteService, output: RemoteOutput) -> Iterator[Fact]:
    yield f"{output.label}: size and checksum", f"{output.size or 'not told'}, {'told' if output.md5 else 'not told'}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            fetched = service.fetch(output, Path(folder) / "result", max_bytes=LARGEST, check=lambda: None)
        except CallError as exc:
            yield f"{output.label}: download", f"{exc.kind}: {exc.message}"
            return
    yield f"{output.label}: download", f"{fetched.size} bytes"
    if output.md5:
        yield f"{output.label}: the checksum is the file's MD5", "yes" if output.md5 == fetched.md5 else "no"


def _said(call: Callable[[], object]) -> str:
    try:
        answer = call()
    except CallError as exc:
        return f"{exc.kind} {exc.status or ''} {exc.code or ''}: {exc.message}"
    return answer if isinstance(answer, str) else "accepted"


def _new_op(service: str, cost: Cost) -> RemoteOp:
    token = operation_token(new_job_id(datetime.now(UTC)))
    return RemoteOp(service=service, account="default", token=token, request_digest="live", cost=cost)


def tone(path: Path) -> RemoteInput:
    """Write the shortest input that says something."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for n in range(SECONDS * RATE // 100):
            file.writeframesraw(
                b"".join((8_000 * (-1) ** ((n + i // 50) % 2)).to_bytes(2, "little", signed=True) for i in range(100))
            )
    return RemoteInput(
        path=lambda: path, url=lambda: None, size=path.stat().st_size, duration=float(SECONDS), extension="wav"
    )


def facts(name: str, settings: Settings, folder: Path, poll_s: float) -> Iterator[Fact]:
    """Yield question and answer of the service of that name.

    Raises:
        ConfigurationError: it has no key here.
        CallError: the account cannot be used.
    """
    services = ConfiguredServices(settings)
    service, source = services.open(name), tone(folder / "tone.wav")
    try:
        if isinstance(service, Auphonic):
            yield from auphonic_facts(service, source, poll_s)
        elif isinstance(service, Lalal):
            yield from lalal_facts(service, source, poll_s)
    finally:
        services.close()


def main(arguments: list[str] | None = None) -> int:
    """Ask, buy, print."""
    parser = argparse.ArgumentParser(prog="python -m musproj.testing.live", description=__doc__)
    parser.add_argument("service", choices=["auphonic", "lalal"])
    parser.add_argument("--yes", action="store_true", help="buy without asking")
    parser.add_argument("--poll", type=float, default=5.0, help="seconds between two questions")
    options = parser.parse_args(arguments)
    if not options.yes and input(f"This buys a little at {options.service}. Go on? [y/N] ").strip().lower() != "y":
        return 1
    with tempfile.TemporaryDirectory() as folder:
        for question, answer in facts(options.service, Settings.load(), Path(folder), options.poll):
            sys.stdout.write(f"{question:45} {answer}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
