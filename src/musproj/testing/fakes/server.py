"""The server of both fakes, on 127.0.0.1 only."""

import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from musproj.testing.fakes.bodies import Reader, TooLargeError
from musproj.testing.fakes.exchange import Answer, Json, Request
from musproj.testing.fakes.faults import REQUEST, Fault
from musproj.testing.fakes.options import Options
from musproj.testing.fakes.sending import Wire
from musproj.testing.fakes.site import CONTROL, Site, damaged, fault_answer
from musproj.testing.fakes.world import Call

HOST = "127.0.0.1"
MAINTENANCE = "<html>maintenance</html>"
_POLL_S = 0.02


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.site: Site | None = None
        self._open: set[socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def drop(self) -> None:
        """End the connections that clients keep open."""
        for connection in list(self._open):
            try:
                connection.shutdown(SHUT_RDWR)
            except OSError:
                continue  # it is gone already


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # 44 ms per request with it

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Say nothing: the log is in the state."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            pass
        except ValueError:
            if not self.rfile.closed:  # else: what is left to do on a closed connection
                raise

    def _serve(self) -> None:
        assert isinstance(self.server, _Server)
        assert self.server.site is not None
        site = self.server.site
        _Exchange(handler=self, site=site, wire=Wire(handler=self, closing=site.closing)).run()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve  # noqa: N815 - the standard library's


@attrs.frozen(kw_only=True)
class _Exchange:
    """One request, from its headers to the last byte of the answer."""

    handler: BaseHTTPRequestHandler
    site: Site
    wire: Wire

    def run(self) -> None:
        url = urlsplit(self.handler.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        path = unquote(url.path)
        headers = {name.lower(): value for name, value in self.handler.headers.items()}
        request = Request(method=self.handler.command, path=path, query=query, headers=headers)
        if path.startswith(CONTROL):
            self._control(request)
            return
        call = self.site.log(request.method, path, query, list(self.handler.headers.items()))
        fault = self.site.world.take(REQUEST, call)
        if fault is not None and self._fails_early(fault, request):
            return
        try:
            request = self._read(request, call)
        except TooLargeError:
            self.wire.send_early(Answer(status=413, data={"detail": "Request Entity Too Large", "code": "too_large"}))
            return
        self._answer(request, call, fault)

    def _control(self, request: Request) -> None:
        body, _ = self._reader(request).read()
        self.wire.send(self.site.control(attrs.evolve(request, body=body)), None, None)

    def _answer(self, request: Request, call: Call, fault: Fault | None) -> None:
        if fault is not None and fault.kind == "status":
            self.wire.send(fault_answer(fault), None, None)
        elif fault is not None and fault.kind == "html":
            self.wire.send(Answer(text=MAINTENANCE, content_type="text/html"), None, None)
        else:
            answer, content_fault = self.site.spoil(self.site.answer(request), call)
            self.wire.send(damaged(answer, fault) if fault is not None else answer, fault, content_fault)

    def _fails_early(self, fault: Fault, request: Request) -> bool:
        """Let happen what does before the body is read; return whether that was all."""
        match fault.kind:
            case "reset":
                self.wire.reset()
            case "reset_mid_upload":
                self._read_some(request, int(fault.number("after_bytes", 1024)))
                self.wire.reset()
            case "early_response":
                self.wire.send_early(fault_answer(fault, 413))
                return True
            case "slow":
                self.site.closing.wait(fault.number("seconds", 1.0))
            case _:
                pass
        return False

    def _read_some(self, request: Request, count: int) -> None:
        stream = self.handler.rfile
        stream.read(min(count, self._reader(request).declared))
        if "chunked" in request.headers.get("transfer-encoding", ""):
            stream.read(count)

    def _read(self, request: Request, call: Call) -> Request:
        body, parts = self._reader(request).read()
        with self.site.world.lock:
            call.body_len, call.body_sha256 = body.length, body.sha256
        return attrs.evolve(request, body=body, parts=parts)

    def _reader(self, request: Request) -> Reader:
        options = self.site.world.options
        return Reader(
            stream=self.handler.rfile,  # type: ignore[arg-type]  # typeshed: BufferedIOBase
            headers=request.headers,
            keep=options.keep_bodies,
            limit=options.max_body_bytes,
        )


class FakeServices:
    """Auphonic and LALAL on one port of this machine; a context manager.

    Every fault, option and control call of the package's docstring is a method here.
    """

    def __init__(self, *, port: int = 0, clock: Callable[[], float] | None = None, **options: Any) -> None:
        """Prepare the server; `with` starts it.

        Args:
            port: Where to listen; 0: a free port.
            clock: Seconds since the epoch; None: the system's clock.
            options: The fields of `Options`.

        Raises:
            ValueError: an option is unknown.
        """
        self._asked_port, self._clock, self._options = port, clock, Options.of(options)
        self._server: _Server | None = None
        self._site: Site | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._server = server = _Server(self._asked_port)
        self._site = server.site = Site(server.server_port, self._options, self._clock)
        self._thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening, and end every connection."""
        if self._server is not None and self._thread is not None:
            self._running.close()
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server.drop()
            self._server = None

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return self._running.world.api

    @property
    def auphonic_url(self) -> str:
        """The base of the fake Auphonic."""
        return f"{self.url}/api"

    @property
    def lalal_url(self) -> str:
        """The base of the fake LALAL, with a slash at the end."""
        return f"{self.url}/api/v1/"

    @property
    def requests(self) -> list[Call]:
        """The requests so far, without those to the control routes."""
        world = self._running.world
        with world.lock:
            return list(world.calls)

    def state(self) -> Json:
        """Return bills, calls, deleted, live, running, max_concurrent, leaks, webhooks and forbidden."""
        self._running.settle()
        return self._running.world.state()

    def fault(
        self, *, kind: str, path: str = ".", call: int | None = None, times: int | None = 1, **parameters: Any
    ) -> None:
        """Let something go wrong.

        Args:
            kind: Which fault.
            path: A regular expression, searched for in "METHOD /path".
            call: The number of the request since the last reset, from 1; None: any.
            times: How often; None: for ever.
            parameters: Those of the kind.

        Raises:
            ValueError: the kind is unknown.
        """
        self._running.add_faults([Fault(kind=kind, path=path, call=call, times=times, parameters=parameters)])

    def script(self, outcomes: Iterable[Mapping[str, Any]]) -> None:
        """Set what becomes of the next productions and tasks, such as `[{"statuses": [4, 15, 3]}]`.

        Raises:
            ValueError: an outcome has no statuses.
        """
        self._running.script(list(outcomes))

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self._running.advance(seconds)

    def finish(self, id: str, status: int | str | None = None) -> None:  # noqa: A002 - as the control route names it
        """End a production (3 or 2) or a task (success, error, cancelled) at once, and fire its webhook.

        Raises:
            ValueError: it is not here, or cannot end so.
        """
        self._running.finish(id, status)

    def reset(self, **options: Any) -> None:
        """Forget everything, and set the options; those not named get their defaults.

        Raises:
            ValueError: an option is unknown.
        """
        self._running.reset(Options.of(options))

    @property
    def _running(self) -> Site:
        assert self._site is not None, "Start it: with FakeServices() as fakes: …"
        return self._site
