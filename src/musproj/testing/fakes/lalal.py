"""The fake LALAL.AI v1: its routes under /api/v1/, and its results under /cdn/."""

import re
import uuid
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

import attrs

from musproj.testing.fakes.audio import media_of
from musproj.testing.fakes.exchange import Answer, Json, Request, as_list, as_object
from musproj.testing.fakes.splits import BATCHED, KINDS, LalalError, Order, invalid, is_uuid4, order_of, refused
from musproj.testing.fakes.tasks import ENDED, UNKNOWN_TASK, Source, Task, usual
from musproj.testing.fakes.world import Bill, Script, World

SERVICE: Final = "lalal"
PREFIX: Final = "/api/v1/"
MOST_IDS, MOST_ITEMS = 200, 100
"""In one `check/`, in one batch."""
CHECK_PERIOD_S: Final = 60


class FakeLalal:
    """Sources and tasks."""

    def __init__(self, world: World) -> None:
        """Begin without sources."""
        self._world = world
        self._sources: dict[str, Source] = {}
        self._tasks: dict[str, Task] = {}
        self._keys: dict[str, Task] = {}
        self._checks: list[float] = []
        self._routes: tuple[tuple[str, Callable[..., Json]], ...] = (
            (r"upload/", self._upload),
            (rf"split/({'|'.join(KINDS)})/", self._split),
            (rf"split/batch/({'|'.join(BATCHED)})/", self._batch),
            (r"(change_voice)/", self._split),
            (r"voice_packs/list/", self._voice_packs),
            (r"check/", self._check),
            (r"cancel/", self._cancel),
            (r"cancel/all/", self._cancel_all),
            (r"delete/", self._delete),
            (r"limits/minutes_left/", self._minutes_left),
        )

    def answer(self, request: Request) -> Answer:
        """Answer a call of the API; the caller holds the world's lock."""
        try:
            answer = Answer(data=self._answer(request))
        except LalalError as error:
            answer = Answer(status=error.status, data=error.body)
        return attrs.evolve(answer, headers={"x-request-id": uuid.uuid4().hex})

    def result(self, request: Request) -> Answer:
        """Answer at the results' host, which wants no key."""
        keys = request.keys()
        for name in keys:
            self._world.leak(request.path, name)
        if keys:
            return Answer(status=400, data={"detail": "No key is wanted here"}, is_result=True)
        found = re.fullmatch(r"/cdn/([^/]+)/([^/]+)/([^/]+)", request.path)
        task = self._tasks.get(found[1]) if found else None
        tone = task.result_of(found[3]) if found and task and task.secret == found[2] else None
        if tone is None:
            return Answer(status=404, data={"detail": "Not Found"}, is_result=True)
        return Answer(tone=tone, content_type="audio/wav", is_result=True)

    def settle(self) -> None:
        """Let everything reach the state that the clock says."""
        for task in self._tasks.values():
            task.settle()

    def finish(self, task_id: str, status: str | None) -> bool:
        """End a task at once; return whether it is here."""
        task = self._tasks.get(task_id)
        if task is None:
            return False
        if status not in (None, *ENDED):
            raise ValueError(f"A task ends with one of: {', '.join(ENDED)}; not {status!r}.")
        task.move(status or "success")
        return True

    # ── routes ───────────────────────────────────────────────────────────────────────────────────

    def _answer(self, request: Request) -> Json:
        if request.method != "POST":
            raise LalalError(405, {"detail": "Method Not Allowed"})
        if request.headers.get("x-license-key") != self._world.options.api_key:
            raise LalalError(403, {"detail": "Provide license key in 'X-License-Key' header"})
        path = request.path.removeprefix(PREFIX)
        for pattern, call in self._routes:
            if found := re.fullmatch(pattern, path):
                return call(request, *found.groups())
        raise LalalError(404, {"detail": "Not Found"})

    def _upload(self, request: Request) -> Json:
        name = _file_name(request.headers.get("content-disposition", ""))
        if not name:
            raise refused("bad_request", "No file name")
        if request.body.length > self._world.options.max_bytes:
            raise refused("exceeded_size", "The file is too large.")
        seconds = self._world.options.default_duration
        media = media_of(request.body.head, request.body.length, default_duration=seconds)
        source = Source(name=name, size=request.body.length, media=media, created=self._world.clock())
        self._sources[source.id] = source
        self._world.live.add(source.id)
        return source.json()

    def _split(self, request: Request, kind: str) -> Json:
        return {"task_id": self._task_of(order_of(kind, request.body.json())).id}

    def _batch(self, request: Request, kind: str) -> Json:
        if self._world.options.no_batch:
            raise refused("batch_not_avaliable", "Batch is not available.")  # spelled so
        items = as_list(as_object(request.body.json()).get("items"))
        if not 0 < len(items) <= MOST_ITEMS:
            raise invalid(["items"], f"Input should be 1 to {MOST_ITEMS} items")
        return {"results": [self._batch_result(kind, n, item) for n, item in enumerate(items)]}

    def _batch_result(self, kind: str, number: int, item: Any) -> Json:
        source_id = as_object(item).get("source_id")
        try:
            task = self._task_of(order_of(kind, item, ["items", number]))
        except LalalError as error:
            if error.status != 400:
                raise
            told = {"error": error.body["detail"], "code": error.body["code"]}
            return {"status": "error", **told, "source_id": source_id}
        return {"status": "success", "task_id": task.id, "source_id": source_id}

    def _voice_packs(self, _request: Request) -> Json:
        return {"packs": []}

    def _check(self, request: Request) -> Json:
        now = self._world.clock()
        self._checks = [at for at in self._checks if at > now - CHECK_PERIOD_S] + [now]
        if len(self._checks) > self._world.options.check_limit:
            raise LalalError(429, {"detail": "Too Many Requests"})
        answers = {task_id: self._checked(task_id) for task_id in _ids_of(request)}
        return {"result": {task_id: answer for task_id, answer in answers.items() if answer is not None}}

    def _checked(self, task_id: str) -> Json | None:
        task = self._tasks.get(task_id)
        if task is None or not task.is_known:
            return {"status": "server_error", "error": UNKNOWN_TASK}
        task.poll()
        return task.json()

    def _cancel(self, request: Request) -> Json:
        return {"result": {task_id: self._cancelled(task_id) for task_id in _ids_of(request)}}

    def _cancelled(self, task_id: str) -> Json:
        task = self._tasks.get(task_id)
        if task is None or not task.is_known:
            return {"status": "server_error", "error": UNKNOWN_TASK}
        if not task.is_running:
            return {"status": "server_error", "error": "Task is not in progress state"}
        task.move("cancelled")
        return {"status": "success"}

    def _cancel_all(self, request: Request) -> Json:
        self._world.forbidden.append(f"{request.method} {request.path}")
        return {"result": {task.id: self._cancelled(task.id) for task in self._tasks.values() if task.is_running}}

    def _delete(self, request: Request) -> Json:
        source = self._sources.get(str(as_object(request.body.json()).get("source_id")))
        if source is None or source.deleted is not None:
            return {}
        source.deleted = self._world.clock()
        self._world.live.discard(source.id)
        self._world.deleted.append(source.id)
        for task in self._tasks.values():
            if task.source is source and task.is_running:
                task.move("cancelled")
        return {}

    def _minutes_left(self, _request: Request) -> Json:
        return {"minutes_left": self._left()}

    # ── what they stand on ───────────────────────────────────────────────────────────────────────

    def _task_of(self, order: Order) -> Task:
        known = self._keys.get(order.key) if order.key else None
        if known is not None:
            if known.accepts_key():
                return known
            raise refused("idempotency_key_used", "Idempotency key has already been used.")
        source = self._sources.get(order.source_id)
        if source is None or not source.is_usable(self._world.clock()):
            raise refused("source_not_found", "The source was not found.")  # our code; the vendor's is unknown
        units = source.media.duration * order.stems / 60
        if units > self._left():
            raise refused("exceeded_duration", "No minutes are left.")
        task = self._new(order, source)
        self._world.bill(Bill(service=SERVICE, id=task.id, units=units, tag=order.key))
        return task

    def _new(self, order: Order, source: Source) -> Task:
        script = self._world.next_script() or Script(statuses=usual(self._world.options.poll_ticks))
        task = Task(world=self._world, order=order, source=source, created=self._world.clock(), script=script)
        self._tasks[task.id] = task
        if order.key:
            self._keys[order.key] = task
        self._world.set_running(task.id, running=True)
        return task

    def _left(self) -> float:
        return self._world.options.balance_minutes - self._world.billed(SERVICE)


def _ids_of(request: Request) -> list[str]:
    ids = as_list(as_object(request.body.json()).get("task_ids"))
    if not ids or len(ids) > MOST_IDS or not all(is_uuid4(task_id) for task_id in ids):
        raise invalid(["task_ids"], f"Input should be 1 to {MOST_IDS} UUIDs, version 4")
    return [str(task_id) for task_id in ids]


def _file_name(disposition: str) -> str:
    """Return the name in a Content-Disposition (RFC 6266 §4.3: the starred one goes first)."""
    if found := re.search(r"filename\*=utf-8''([^;\s]+)", disposition, re.IGNORECASE):
        return unquote(found[1])
    found = re.search(r'filename="?([^";]+)', disposition)
    return found[1] if found else ""
