"""LALAL.AI v1 (https://www.lalal.ai/api/v1/): upload, split, one question for all tasks, both tracks.

A task's id is told once, and tasks cannot be listed: what makes a repeated split safe is its key, until the task
starts. All calls are POST.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import attrs

from musproj.adapters.services.account import UPLOAD_ANSWER_S, HttpAccount, is_refusal
from musproj.adapters.services.answers import inside, objects, required_id, whole
from musproj.adapters.services.client import SEND_BYTES
from musproj.adapters.services.failures import scrub
from musproj.application.digests import blocks_of
from musproj.domain.remote import Cost, RemoteFault, RemoteOp, RemotePhase, as_key
from musproj.errors import RemoteRejectedError
from musproj.ports.processor import RemoteTask
from musproj.ports.remote import (
    ASSUMED_S,
    KEY_USED,
    CallClass,
    CallError,
    Caps,
    RemoteInput,
    RemoteOutput,
    RemoteState,
    Update,
    sensible,
)

NAME = "lalal"
URL = "https://www.lalal.ai/api/v1/"
HOSTS = ("lalal.ai", "*.lalal.ai")
UPGRADED = ("*.lalal.ai",)
"""The addresses of results are given as plain http."""
MINUTE = "minute"
LIFE = timedelta(hours=24)
MAX_BYTES = 10_000_000_000
_TRACKS = ("stem", "back")
_SOURCE_LOST = re.compile(
    r"source_(id|not_found)|source .*(not found|unknown|expired|deleted|no longer)", re.IGNORECASE
)
_SINCE, _UNTIL = 1.5e9, 5e9
"""Seconds since the epoch that an upload may expire at: 2017 to 2128."""


@attrs.frozen(kw_only=True)
class Lalal(HttpAccount):
    """One license key at LALAL.AI."""

    prefix: str = "musproj"
    """Of the names of our files."""

    @property
    def name(self) -> str:
        """The service."""
        return NAME

    @property
    def caps(self) -> Caps:
        """What it documents: 30 questions a minute, of which 24 + 4 at most are asked."""
        return Caps(
            idempotency="until_start", poll_batch=200, calls_per_minute=24.0, burst=4, limits_polls_alone=True, upload_life=LIFE,
            task_life=LIFE, max_upload_bytes=MAX_BYTES, max_running=50, tells_balance=True,
        )  # fmt: skip

    def estimate(self, task: RemoteTask, duration: float | None) -> Cost:
        """Return the input's minutes, for each stem."""
        seconds = ASSUMED_S if duration is None else duration
        return Cost(unit=MINUTE, estimate=seconds * _stems(task) / 60)

    def create(self, op: RemoteOp, task: RemoteTask, source: RemoteInput, hook: str | None) -> RemoteOp:  # noqa: ARG002 - the port's signature
        """Refuse: there are no drafts.

        Raises:
            CallError: always.
        """
        raise CallError(CallClass.FATAL, "LALAL.AI knows no drafts")

    def upload(self, op: RemoteOp, task: RemoteTask, source: RemoteInput) -> RemoteOp:  # noqa: ARG002 - one for all tasks
        """Send the input, block by block."""
        name = f"{self.prefix}-{op.token[:8]}.{source.extension}"
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(source.size),  # else it would be sent in chunks
        }
        answer = self.api.call(
            "POST",
            "upload/",
            content=blocks_of(source.path(), SEND_BYTES),
            headers=headers,
            read_timeout=UPLOAD_ANSWER_S,
        )
        return op.enter(
            RemotePhase.STAGED, upload_ref=required_id(answer, "id"), upload_expires=_expiry(answer.get("expires"))
        )

    def submit(self, op: RemoteOp, task: RemoteTask, source: RemoteInput, hook: str | None) -> RemoteOp:  # noqa: ARG002 - it has its input, and no webhooks
        """Split, which bills."""
        body = {
            "source_id": op.upload_ref,
            "presets": task.request["presets"],
            "idempotency_key": as_key(op.token),
        }
        try:
            answer = self.api.call("POST", f"split/{task.request['call']}/", is_effect=True, json=body)
        except CallError as exc:
            raise _meant(exc) from exc
        return attrs.evolve(op, remote_id=required_id(answer, "task_id", is_effect=True))

    def find(self, op: RemoteOp) -> RemoteOp | None:  # noqa: ARG002 - the port's signature
        """Refuse: there is no list.

        Raises:
            CallError: always.
        """
        raise CallError(CallClass.FATAL, "LALAL.AI lists no tasks")

    def poll(self, ops: Sequence[RemoteOp]) -> Mapping[str, Update]:
        """Ask for all of them at once."""
        found = self._check([op.remote_id for op in ops if op.remote_id])
        return {op.token: _update(inside(found, op.remote_id or "")) for op in ops}

    def outputs(self, op: RemoteOp) -> Iterable[RemoteOutput]:
        """Return the tracks, by their label."""
        found = inside(self._check([op.remote_id or ""]), op.remote_id or "")
        if found.get("status") != "success":
            raise CallError(CallClass.STALE, "LALAL.AI knows the task no more")
        for track in _tracks(found):
            yield RemoteOutput(label=track["label"], url=str(track.get("url", "")), size=whole(track.get("size")))

    def cancel(self, op: RemoteOp) -> None:
        """Stop this task; an answer that it does not run is as good."""
        if op.remote_id:
            self.api.call("POST", "cancel/", json={"task_ids": [op.remote_id]})

    def cleanup(self, op: RemoteOp) -> None:
        """Delete the source, which stops its tasks and deletes their results."""
        if op.upload_ref is None:
            return
        try:
            self.api.call("POST", "delete/", json={"source_id": op.upload_ref})
        except CallError as exc:
            if not is_refusal(exc):  # it is gone, or never was
                raise

    def balance(self) -> tuple[float, str] | None:
        """Return the minutes that are left; None where the answer does not tell."""
        left = sensible(self.api.call("POST", "limits/minutes_left/").get("minutes_left"))
        return None if left is None else (left, MINUTE)

    def _check(self, task_ids: Sequence[str]) -> Mapping[str, Any]:
        answer = self.api.call("POST", "check/", json={"task_ids": list(task_ids)})
        if not isinstance(answer.get("result"), dict):  # else every task would seem to be gone
            raise CallError(CallClass.TRANSIENT, "its answer tells of no task")
        return inside(answer, "result")


def _stems(task: RemoteTask) -> int:
    presets = cast("Mapping[str, Any]", task.request["presets"])
    return len(presets.get("stem_list") or ("one",))


def _meant(exc: CallError) -> CallError:
    """Return the failure of a split as the engine takes it."""
    if exc.code == KEY_USED:  # there is a task of ours, whose id was never told: nothing that a refusal is
        return CallError(CallClass.AMBIGUOUS, exc.message, status=exc.status, code=exc.code, request_id=exc.request_id)
    if exc.kind is CallClass.REJECTED and _SOURCE_LOST.search(f"{exc.code} {exc.message}"):
        return CallError(CallClass.STALE, exc.message, status=exc.status, code=exc.code, request_id=exc.request_id)
    return exc


def _expiry(value: object) -> datetime | None:
    """Return when an upload expires; None where that is no plausible time in seconds."""
    seconds = sensible(value)
    if seconds is None or not _SINCE <= seconds <= _UNTIL:
        return None
    return datetime.fromtimestamp(int(seconds), UTC)


def _update(found: Mapping[str, Any]) -> Update:
    match found.get("status"):
        case "progress":
            done = sensible(found.get("progress"))
            return Update(
                state=RemoteState.RUNNING if done else RemoteState.QUEUED, fraction=None if done is None else done / 100
            )
        case "success":
            return Update(state=RemoteState.FINISHED, fraction=1.0, actual=_minutes(found))
        case "error":
            return Update(state=RemoteState.FAILED, fault=_fault(found))
        case "cancelled":
            return Update(state=RemoteState.CANCELLED)
        case "server_error" | None:
            return Update(state=RemoteState.GONE)
        case _:  # of the future: its deadline ends it
            return Update(state=RemoteState.RUNNING)


def _fault(found: Mapping[str, Any]) -> RemoteFault:
    error = found.get("error")
    detail = inside(found, "error").get("detail") if isinstance(error, dict) else error
    return RemoteFault(code=RemoteRejectedError.code, message=f"LALAL.AI: {scrub(str(detail or 'no reason given'))}")


def _tracks(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tracks = objects(inside(found, "result").get("tracks"))
    return [track for track in tracks if track.get("type") in _TRACKS and isinstance(track.get("label"), str)]


def _minutes(found: Mapping[str, Any]) -> float | None:
    """Return what the task should have cost: its minutes for each stem."""
    duration = sensible(inside(found, "result").get("duration"))
    labels = [track["label"] for track in _tracks(found) if track.get("type") == "stem"]
    stems = len({label.partition("@")[0] for label in labels}) or 1
    return None if duration is None else duration * stems / 60
