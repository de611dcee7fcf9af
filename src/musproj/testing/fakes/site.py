"""The two fakes and their control, free of sockets."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from musproj.testing.fakes.auphonic import FakeAuphonic
from musproj.testing.fakes.exchange import Answer, Json, Request, as_list, as_object
from musproj.testing.fakes.faults import AUDIO, REDIRECT, SIZES, Fault, sizes_in
from musproj.testing.fakes.lalal import PREFIX, FakeLalal
from musproj.testing.fakes.options import Options
from musproj.testing.fakes.webhooks import Webhooks
from musproj.testing.fakes.world import Call, World

CONTROL = "/_fake/"


class Site:
    """Answers requests, and does what a test asks for."""

    def __init__(self, port: int, options: Options, now: Callable[[], float] | None = None) -> None:
        """Begin with nothing.

        Args:
            port: Where the server listens.
            options: How the fakes behave.
            now: A clock in seconds; None: the system's.
        """
        self._port, self._now = port, now or time.time
        self.closing = threading.Event()
        self._webhooks = Webhooks(self.closing)
        self.world, self._auphonic, self._lalal = self._begin(options)

    def _begin(self, options: Options) -> tuple[World, FakeAuphonic, FakeLalal]:
        world = World(options, self._port, self._now)
        return world, FakeAuphonic(world, self._webhooks), FakeLalal(world)

    def close(self) -> None:
        """End what waits, and the webhooks on their way."""
        self.closing.set()
        self._webhooks.join()

    # ── control ──────────────────────────────────────────────────────────────────────────────────

    def reset(self, options: Options) -> None:
        """Forget everything, the clock's offset included."""
        with self.world.lock:
            self.world, self._auphonic, self._lalal = self._begin(options)

    def add_faults(self, faults: list[Fault]) -> None:
        """Append faults."""
        with self.world.lock:
            for fault in faults:
                self.world.faults.add(fault)

    def script(self, outcomes: list[Any]) -> None:
        """Set what becomes of the next productions and tasks, one outcome each."""
        with self.world.lock:
            for outcome in outcomes:
                self.world.add_script(as_object(outcome))

    def advance(self, seconds: float) -> None:
        """Move the clock, and let what is due happen."""
        with self.world.lock:
            self.world.advance(seconds)
            self.settle()

    def finish(self, name: str, status: int | str | None) -> None:
        """End a production or a task at once.

        Raises:
            ValueError: it is not here, or cannot end so.
        """
        with self.world.lock:
            if not isinstance(status, str) and self._auphonic.finish(name, status):
                return
            if not isinstance(status, int) and self._lalal.finish(name, status):
                return
        raise ValueError(f"Nothing of the id {name} can end with {status!r}.")

    def settle(self) -> None:
        """Let everything reach the state that the clock says."""
        with self.world.lock:
            if self.world.options.mode == "clock":
                self._auphonic.settle()
                self._lalal.settle()

    def control(self, request: Request) -> Answer:
        """Answer a control route."""
        try:
            return Answer(data=self._controlled(request))
        except (ValueError, TypeError, KeyError) as error:
            return Answer(status=400, data={"error": str(error)})

    def _controlled(self, request: Request) -> Json:
        data = request.body.json()
        fields: Mapping[str, Any] = as_object(data)
        match request.method, request.path.removeprefix(CONTROL):
            case "GET", "state":
                self.settle()
                return self.world.state()
            case "POST", "reset":
                self.reset(Options.of(fields))
            case "POST", "faults":
                self.add_faults([Fault.of(as_object(fault)) for fault in as_list(data)])
            case "POST", "script":
                self.script(as_list(fields.get("outcomes")))
            case "POST", "advance":
                self.advance(float(fields["seconds"]))
            case "POST", "finish":
                self.finish(str(fields["id"]), fields.get("status"))
            case _:
                raise ValueError("There are: GET state; POST reset, faults, script, advance, finish.")
        return {}

    # ── the services ─────────────────────────────────────────────────────────────────────────────

    def log(self, method: str, path: str, query: Mapping[str, str], headers: list[tuple[str, str]]) -> Call:
        """Log a request that begins."""
        world = self.world
        with world.lock:
            call = Call(n=len(world.calls) + 1, method=method, path=path, headers=headers, t=world.clock())
            call.query = "&".join(f"{name}={value}" for name, value in query.items())
            world.calls.append(call)
            if "bearer_token" in query:
                world.leak(path, "bearer_token")
            return call

    def answer(self, request: Request) -> Answer:
        """Answer a request to one of the services."""
        with self.world.lock:
            self.settle()
            if request.path.startswith("/s3/") and request.method == "GET":
                return self._auphonic.result(request)
            if request.path.startswith("/cdn/") and request.method == "GET":
                return self._lalal.result(request)
            if request.path.startswith(PREFIX):
                return self._lalal.answer(request)
            if request.path.startswith("/api/"):
                return self._auphonic.answer(request)
            return Answer(status=404, data={"detail": "Not Found"})

    def spoil(self, answer: Answer, call: Call) -> tuple[Answer, Fault | None]:
        """Return the answer as the faults of results leave it, and the one that concerns its bytes."""
        if answer.is_result and (fault := self.world.take(REDIRECT, call)):
            location = str(fault.parameters.get("location", "http://169.254.169.254/"))
            return Answer(status=302, text="", headers={"Location": location}), None
        if answer.tone is not None:
            return answer, self.world.take(AUDIO, call)
        sizes = sizes_in(answer.data)
        if sizes and self.world.take(SIZES, call):
            for fields in sizes:
                fields["size"] += 1
        return answer, None


def fault_answer(fault: Fault, default: int = 503) -> Answer:
    """Return what `status` and `early_response` answer."""
    code = int(fault.number("code", default))
    retry_after, body = fault.parameters.get("retry_after"), fault.parameters.get("body")
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if isinstance(body, str):
        return Answer(status=code, text=body, headers=headers)
    usual = {"detail": "fault", "error_message": "fault", "status_code": code}
    return Answer(status=code, data=usual if body is None else body, headers=headers)


def damaged(answer: Answer, fault: Fault) -> Answer:
    """Return what `garbage` makes of an answer."""
    if fault.kind != "garbage":
        return answer
    return attrs.evolve(answer, status=200, data=None, tone=None, text='{"data": [', content_type="application/json")
