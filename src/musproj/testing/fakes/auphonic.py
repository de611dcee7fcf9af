"""The fake Auphonic: its routes under /api/, and its results under /s3/."""

import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from musproj.testing.fakes.audio import media_of
from musproj.testing.fakes.exchange import Answer, Json, Part, Request, as_list, as_object, is_object
from musproj.testing.fakes.production import (
    DONE,
    SERVICE,
    STATUSES,
    STOPPING,
    WIDTHS,
    Input,
    Production,
)
from musproj.testing.fakes.webhooks import Webhooks
from musproj.testing.fakes.world import World

Route = tuple[str, str, Callable[..., Answer]]
_SETTINGS = ("metadata", "algorithms", "output_basename", "webhook", "preset")
_LIST_LIMIT = 10


class AuphonicError(Exception):
    """The service refuses."""

    def __init__(self, status: int, message: str, form_errors: Json | None = None) -> None:
        """Refuse with a status and a message."""
        super().__init__(message)
        self.status, self.message, self.form_errors = status, message, form_errors or {}


class FakeAuphonic:
    """Productions, from draft to deletion."""

    def __init__(self, world: World, webhooks: Webhooks) -> None:
        """Begin without productions."""
        self._world, self._webhooks = world, webhooks
        self._productions: dict[str, Production] = {}
        self._preset_webhooks: dict[str, list[str]] = {}
        one = r"/api/production/(\w+)"
        self._routes: tuple[Route, ...] = (
            ("POST", r"/api/productions\.json", self._create),
            ("GET", r"/api/productions\.json", self._list),
            ("POST", rf"{one}/upload\.json", self._upload),
            ("POST", rf"{one}/start\.json", self._start),
            ("POST", rf"{one}/stop\.json", self._stop),
            ("GET", rf"{one}/status\.json", self._status),
            ("GET", rf"{one}\.json", self._get),
            ("POST", rf"{one}\.json", self._update),
            ("DELETE", rf"{one}\.json", self._delete),
            ("GET", r"/api/download/audio-result/(\w+)/(.+)", self._download),
            ("POST", r"/api/simple/productions\.json", self._simple),
            ("GET", r"/api/user\.json", self._user),
            ("GET", r"/api/info/production_status\.json", self._info),
            ("GET|POST|DELETE", r"/api/preset/(\w+)/webhook\.json", self._preset_webhook),
        )

    def answer(self, request: Request) -> Answer:
        """Answer a call of the API; the caller holds the world's lock."""
        try:
            return self._answer(request)
        except AuphonicError as error:
            return _envelope(None, error.status, error.message, error.form_errors)

    def result(self, request: Request) -> Answer:
        """Answer at the results' host, which wants no key."""
        keys = request.keys()
        for name in keys:
            self._world.leak(request.path, name)
        if keys:
            return _xml(400, "InvalidArgument", "Only one auth mechanism allowed")
        expires = request.query.get("exp", "")
        if not re.fullmatch(r"\d+(\.\d+)?", expires) or self._world.clock() > float(expires):
            return _xml(403, "AccessDenied", "Request has expired")
        _, _, uuid, name = request.path.split("/", 3) if request.path.count("/") >= 3 else ("", "", "", "")
        production = self._productions.get(uuid)
        for result in production.results if production else []:
            if result.name == name:
                return Answer(tone=result.tone, content_type="audio/wav", is_result=True)
        return _xml(404, "NoSuchKey", "The specified key does not exist.")

    def settle(self) -> None:
        """Let everything reach the state that the clock says."""
        for production in list(self._productions.values()):
            if production.settle():
                self._tell(production)

    def finish(self, uuid: str, status: int | None) -> bool:
        """End a run at once; return whether the production is here."""
        production = self._productions.get(uuid)
        if production is None:
            return False
        if production.input is None and status in (None, DONE):
            raise ValueError(f"Production {uuid} has no input to finish.")
        if production.move(DONE if status is None else int(status)):
            self._tell(production)
        return True

    # ── routes ───────────────────────────────────────────────────────────────────────────────────

    def _answer(self, request: Request) -> Answer:
        self._authorize(request)
        for methods, pattern, call in self._routes:
            found = re.fullmatch(pattern, request.path)
            if found and request.method in methods.split("|"):
                return call(request, *found.groups())
        raise AuphonicError(404, "Not Found")

    def _create(self, request: Request) -> Answer:
        fields = request.body.json()
        if not is_object(fields):
            raise AuphonicError(400, "Invalid JSON", {"__all__": ["The body is no JSON object."]})
        production = self._new(fields)
        if fields.get("action") == "start":
            self._run(production)
        return _envelope(production.json())

    def _list(self, request: Request) -> Answer:
        newest_first = list(reversed(self._productions.values()))
        latest = self._world.clock() - self._world.options.list_lag
        shown = [production for production in newest_first if production.created <= latest]
        offset = _whole(request.query.get("offset"), 0)
        shown = shown[offset : offset + _whole(request.query.get("limit"), _LIST_LIMIT)]
        if request.query.get("uuids_only") == "1":
            return _envelope([production.uuid for production in shown])
        items = [production.json() for production in shown]
        if request.query.get("minimal_data") == "1" and self._world.options.minimal_drops_basename:
            for item in items:
                del item["output_basename"]
        return _envelope(items)

    def _upload(self, request: Request, uuid: str) -> Answer:
        production = self._at_rest(uuid)
        part = request.parts.get("input_file")
        if part is None or part.filename is None:
            raise AuphonicError(400, "No file", {"input_file": ["This field is required."]})
        production.take(self._input_of(part))
        return _envelope(production.json())

    def _start(self, _request: Request, uuid: str) -> Answer:
        production = self._one(uuid)
        self._run(production)
        return _envelope(production.json())

    def _stop(self, _request: Request, uuid: str) -> Answer:
        production = self._one(uuid)
        if not production.is_running:
            raise AuphonicError(400, "The production is not running.")
        production.move(STOPPING)
        return _envelope(production.json())

    def _status(self, _request: Request, uuid: str) -> Answer:
        return _envelope(self._polled(uuid).status_json())

    def _get(self, _request: Request, uuid: str) -> Answer:
        return _envelope(self._polled(uuid).json())

    def _update(self, request: Request, uuid: str) -> Answer:
        production = self._at_rest(uuid)
        fields = as_object(request.body.json())
        outputs = _outputs_of(fields)
        if fields.get("reset_data"):
            production.fields, production.outputs = {}, []
        production.fields |= _settings_of(fields)
        production.outputs += outputs  # the vendor appends, which is a trap for whoever repeats a create
        if isinstance(fields.get("input_file"), str):
            production.take(self._input_at(str(fields["input_file"])))
        if fields.get("action") == "start":
            self._run(production)
        return _envelope(production.json())

    def _delete(self, _request: Request, uuid: str) -> Answer:
        self._one(uuid)
        del self._productions[uuid]
        self._world.live.discard(uuid)
        self._world.set_running(uuid, running=False)
        self._world.deleted.append(uuid)
        return _envelope({})

    def _download(self, _request: Request, uuid: str, name: str) -> Answer:
        if name not in [result.name for result in self._one(uuid).results]:
            raise AuphonicError(404, "Not Found")
        signature, expires = secrets.token_hex(32), self._world.clock() + self._world.options.url_ttl
        path = quote(f"/s3/{uuid}/{name}")
        location = f"{self._world.results}{path}?X-Amz-Signature={signature}&exp={expires:.3f}"
        return Answer(status=302, text="", content_type="text/html", headers={"Location": location}, is_result=True)

    def _simple(self, request: Request) -> Answer:
        self._world.forbidden.append(f"{request.method} {request.path}")
        fields = {name: part.body.text() for name, part in request.parts.items() if part.filename is None}
        part = request.parts.get("input_file")
        production = self._new({**fields, "metadata": {"title": fields.get("title", "")}})
        if part is not None and part.filename is not None:
            production.take(self._input_of(part))
        if fields.get("action") == "start":
            self._run(production)
        return _envelope(production.json())

    def _user(self, _request: Request) -> Answer:
        left = self._left()
        return _envelope(
            {
                "username": "fake",
                "credits": left,
                "onetime_credits": left,
                "recurring_credits": 0.0,
                "recharge_date": "2030-01-01",
            }
        )

    def _info(self, _request: Request) -> Answer:
        return _envelope({str(number): text for number, text in STATUSES.items()})

    def _preset_webhook(self, request: Request, preset: str) -> Answer:
        if request.method == "DELETE":
            self._preset_webhooks.pop(preset, None)
        if request.method == "POST":
            url = as_object(request.body.json()).get("webhook")
            self._preset_webhooks[preset] = [str(url)] if url else []
        return _envelope({"webhook": self._preset_webhooks.get(preset) or None})

    # ── what they stand on ───────────────────────────────────────────────────────────────────────

    def _authorize(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or key.strip() != self._world.options.api_key:
            raise AuphonicError(401, "Authentication required")

    def _one(self, uuid: str) -> Production:
        if uuid not in self._productions:
            raise AuphonicError(404, "Production not found")
        return self._productions[uuid]

    def _at_rest(self, uuid: str) -> Production:
        production = self._one(uuid)
        if production.is_running:
            raise AuphonicError(400, "The production is running and cannot be changed.")
        return production

    def _polled(self, uuid: str) -> Production:
        production = self._one(uuid)
        if production.poll():
            self._tell(production)
        return production

    def _new(self, fields: Json) -> Production:
        production = Production(
            world=self._world,
            created=self._world.clock(),
            fields=_settings_of(fields),
            outputs=_outputs_of(fields) or [{"format": "wav"}],
            script=self._world.next_script(),
        )
        if isinstance(fields.get("input_file"), str):
            production.take(self._input_at(str(fields["input_file"])))
        self._productions[production.uuid] = production
        self._world.live.add(production.uuid)
        return production

    def _input_of(self, part: Part) -> Input:
        seconds = self._world.options.default_duration
        media = media_of(part.body.head, part.body.length, default_duration=seconds)
        return Input(name=part.filename or "", sha256=part.body.sha256, media=media)

    def _input_at(self, url: str) -> Input:
        digest = hashlib.sha256(url.encode()).hexdigest()
        media = media_of(b"", 0, default_duration=self._world.options.default_duration)
        return Input(name=url, sha256=digest, media=media, is_url=True)

    def _run(self, production: Production) -> None:
        if not production.is_startable:
            raise AuphonicError(400, f"The production cannot be started in status {production.status}.")
        if production.price > self._left():
            raise AuphonicError(400, "Not enough credits")
        production.start()

    def _left(self) -> float:
        return self._world.options.balance_hours - self._world.billed(SERVICE)

    def _tell(self, production: Production) -> None:
        own, preset = production.fields.get("webhook"), str(production.fields.get("preset") or "")
        status = production.status
        form = {"uuid": production.uuid, "status": str(status), "status_string": STATUSES[status]}
        for url in [*([str(own)] if own else []), *self._preset_webhooks.get(preset, [])]:
            self._webhooks.fire(self._world, url, form)


def _settings_of(fields: Json) -> Json:
    return {name: fields[name] for name in _SETTINGS if name in fields}


def _outputs_of(fields: Json) -> list[Json]:
    outputs = [as_object(output) for output in as_list(fields.get("output_files"))]
    for output in outputs:
        if output.get("format") not in WIDTHS:
            told = f"The fake makes {' and '.join(WIDTHS)} only, not {output.get('format')!r}."
            raise AuphonicError(400, "Invalid output_files", {"output_files": [told]})
    return outputs


def _envelope(data: Any, status: int = 200, message: str = "", form_errors: Json | None = None) -> Answer:
    return Answer(
        status=status,
        data={
            "status_code": status,
            "error_code": None if status == 200 else str(status),
            "error_message": message,
            "form_errors": form_errors or {},
            "data": data,
        },
    )


def _xml(status: int, code: str, message: str) -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status=status, text=text, content_type="application/xml", is_result=True)


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() else default
