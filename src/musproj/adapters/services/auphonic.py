"""Auphonic (https://auphonic.com/help/api/complex.html): a free draft, the input, a start, a result.

The draft is named after the operation's token, so that one whose id was lost is found again. `action`, with which a
draft would be made and started in one call, is never sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import attrs

from musproj.adapters.services.account import UPLOAD_ANSWER_S, HttpAccount, is_refusal
from musproj.adapters.services.answers import inside, objects, required_id, whole
from musproj.adapters.services.failures import classify_status, scrub
from musproj.domain.remote import Cost, CostState, RemoteFault, RemoteOp, RemotePhase
from musproj.errors import RemoteRejectedError
from musproj.ports.processor import RemoteTask
from musproj.ports.remote import (
    ASSUMED_S,
    CallClass,
    CallError,
    Caps,
    RemoteInput,
    RemoteOutput,
    RemoteState,
    Update,
    sensible,
)

NAME = "auphonic"
URL = "https://auphonic.com/api"
HOSTS = ("auphonic.com", "*.auphonic.com", "*.amazonaws.com")
CREDIT_HOUR = "credit_hour"
SHORTEST_BILLED_S = 180.0
LISTED = 50

ERROR, DONE, INCOMPLETE, NOT_STARTED, OUTDATED = 2, 3, 9, 10, 11
_FRACTIONS = {0: 0.05, 1: 0.05, 12: 0.1, 4: 0.4, 14: 0.6, 5: 0.8, 7: 0.85, 8: 0.9, 6: 0.95}
"""Status numbers of a production that is worked on (`/api/info/production_status.json`), and how far it is then."""
_NOT_RUNNING = {
    ERROR: RemoteState.FAILED,
    DONE: RemoteState.FINISHED,
    INCOMPLETE: RemoteState.NEEDS_INPUT,
    NOT_STARTED: RemoteState.NOT_STARTED,
    OUTDATED: RemoteState.OUTDATED,
}
_NOT_FOUND = 404
_MD5_CHARACTERS = 32


@attrs.frozen(kw_only=True)
class Auphonic(HttpAccount):
    """One account at Auphonic."""

    prefix: str = "musproj"
    """Of the names of our productions; installations that share an account have different ones."""
    takes_urls: bool = False

    @property
    def name(self) -> str:
        """The service."""
        return NAME

    @property
    def caps(self) -> Caps:
        """What Auphonic documents; its rate limits are not among that."""
        return Caps(
            has_drafts=True, has_tags=True, takes_urls=self.takes_urls, sends_hints=True, has_free_restarts=True,
            calls_per_minute=60.0, burst=10, max_running=50, tells_balance=True,
        )  # fmt: skip

    def estimate(self, task: RemoteTask, duration: float | None) -> Cost:  # noqa: ARG002 - outputs are free
        """Return the input's length in hours, of which at least three minutes are billed."""
        seconds = ASSUMED_S if duration is None else max(duration, SHORTEST_BILLED_S)
        return Cost(unit=CREDIT_HOUR, estimate=seconds / 3_600)

    def create(self, op: RemoteOp, task: RemoteTask, source: RemoteInput, hook: str | None) -> RemoteOp:
        """Make the draft."""
        body: dict[str, object] = {**task.request, "output_basename": self._basename(op)}
        url = source.url() if op.input_mode == "url" else None
        if url is not None:
            body["input_file"] = url
        if hook is not None:
            body["webhook"] = hook
        made = self._call("POST", "productions.json", is_effect=True, json=body)
        remote_id = required_id(made, "uuid", is_effect=True)
        if url is None:
            return op.enter(RemotePhase.DRAFT, remote_id=remote_id)
        return op.enter(RemotePhase.STAGED, remote_id=remote_id, upload_expires=source.url_expires)

    def upload(self, op: RemoteOp, task: RemoteTask, source: RemoteInput) -> RemoteOp:  # noqa: ARG002 - it is in the draft
        """Send the input, unless an earlier run has."""
        found = self.find(op)
        if found is None:
            return op.enter(RemotePhase.PLANNED, remote_id=None)
        if found.phase is not RemotePhase.DRAFT:
            return found
        name = f"{self.prefix}-{op.token[:8]}.{source.extension}"
        with source.path().open("rb") as file:  # a real file: httpx knows its length and does not send it in chunks
            self._call(
                "POST", f"production/{op.remote_id}/upload.json",
                files={"input_file": (name, file, "application/octet-stream")}, read_timeout=UPLOAD_ANSWER_S,
            )  # fmt: skip
        return op.enter(RemotePhase.STAGED)

    def submit(self, op: RemoteOp, task: RemoteTask, source: RemoteInput, hook: str | None) -> RemoteOp:  # noqa: ARG002 - they are in the draft
        """Start the production, which bills it, once for the same input."""
        self._call("POST", f"production/{op.remote_id}/start.json", is_effect=True)
        return attrs.evolve(op, cost=attrs.evolve(op.cost, state=CostState.BILLED))

    def find(self, op: RemoteOp) -> RemoteOp | None:
        """Read the production, or look for one of our name among the newest."""
        if op.remote_id is not None:
            production = self._production(op)
        else:
            production = next((found for found in self._listed() if self._is_ours(op, found)), None)
        return None if production is None else self._placed(op, production)

    def poll(self, ops: Sequence[RemoteOp]) -> Mapping[str, Update]:
        """Read each."""
        return {op.token: self._update(self._production(op)) for op in ops}

    def outputs(self, op: RemoteOp) -> Iterable[RemoteOutput]:
        """Return the output files, by their format."""
        production = self._production(op)
        if production is None:
            raise CallError(CallClass.STALE, "the production is gone", status=_NOT_FOUND)
        for file in objects(production.get("output_files")):
            url, label, md5 = file.get("download_url"), file.get("format"), file.get("checksum")
            if isinstance(url, str) and url and isinstance(label, str):
                is_known = isinstance(md5, str) and len(md5) == _MD5_CHARACTERS
                yield RemoteOutput(label=label, url=url, size=whole(file.get("size")), md5=md5 if is_known else None)

    def cancel(self, op: RemoteOp) -> None:
        """Stop the production; one that does not run is refused, which is as good."""
        try:
            self._call("POST", f"production/{op.remote_id}/stop.json")
        except CallError as exc:
            if not is_refusal(exc):
                raise

    def cleanup(self, op: RemoteOp) -> None:
        """Delete the production, or all drafts of our name where its id is not known."""
        if op.remote_id is not None:
            self._delete(op.remote_id)
            return
        for production in self._listed():
            if self._is_ours(op, production):
                self._delete(required_id(production, "uuid"))

    def balance(self) -> tuple[float, str] | None:
        """Return the hours that are left; None where the answer does not tell."""
        left = sensible(self._call("GET", "user.json").get("credits"))
        return None if left is None else (left, CREDIT_HOUR)

    # ── what it says ──

    def _basename(self, op: RemoteOp) -> str:
        return f"{self.prefix}-{UUID(op.token).hex}"

    def _is_ours(self, op: RemoteOp, production: Mapping[str, Any]) -> bool:
        return production.get("output_basename") == self._basename(op)

    def _listed(self) -> Sequence[Mapping[str, Any]]:
        found: Any = self._data(self.api.call("GET", f"productions.json?limit={LISTED}"), is_effect=False)
        return objects(found)

    def _production(self, op: RemoteOp) -> Mapping[str, Any] | None:
        try:
            return self._call("GET", f"production/{op.remote_id}.json")
        except CallError as exc:
            if exc.status == _NOT_FOUND:
                return None
            raise

    def _placed(self, op: RemoteOp, production: Mapping[str, Any]) -> RemoteOp:
        status = production.get("status")
        phase = {INCOMPLETE: RemotePhase.DRAFT, NOT_STARTED: RemotePhase.STAGED}.get(
            status if isinstance(status, int) else -1, RemotePhase.SUBMITTED
        )
        cost = attrs.evolve(op.cost, state=CostState.BILLED) if phase is RemotePhase.SUBMITTED else op.cost
        return op.enter(phase, remote_id=required_id(production, "uuid"), cost=cost)

    def _update(self, production: Mapping[str, Any] | None) -> Update:
        if production is None:
            return Update(state=RemoteState.GONE)
        status = production.get("status")
        number = status if isinstance(status, int) else -1
        state = _NOT_RUNNING.get(number, RemoteState.RUNNING)
        fault = None
        if state is RemoteState.FAILED:
            text = scrub(str(production.get("error_message") or "Auphonic gives no reason."))
            fault = RemoteFault(code=RemoteRejectedError.code, message=f"Auphonic: {text}")
        actual = sensible(inside(production, "used_credits").get("combined"))
        return Update(
            state=state,
            fraction=_FRACTIONS.get(number),
            actual=actual,
            fault=fault,
        )

    def _delete(self, uuid: str) -> None:
        try:
            self._call("DELETE", f"production/{uuid}.json")
        except CallError as exc:
            if exc.status != _NOT_FOUND:
                raise

    def _call(self, method: str, path: str, *, is_effect: bool = False, **arguments: Any) -> Mapping[str, Any]:
        data = self._data(self.api.call(method, path, is_effect=is_effect, **arguments), is_effect=is_effect)
        return cast("Mapping[str, Any]", data) if isinstance(data, dict) else {}

    def _data(self, envelope: Mapping[str, Any], *, is_effect: bool) -> Any:
        """Return what is in the envelope, whose own status counts as that of HTTP does."""
        status = envelope.get("status_code", 200)
        if isinstance(status, int) and status >= 400:
            text = scrub(f"Auphonic: {envelope.get('error_message') or envelope.get('form_errors') or status}")
            raise CallError(classify_status(status, is_effect=is_effect), text, status=status, body=envelope)
        return envelope.get("data")
