"""Run the API in this process: bind, serve, drain."""

import asyncio
import contextlib
import gc
import signal
import socket
import threading
from collections.abc import Callable, Generator
from types import FrameType

import uvicorn

from musproj.composition import MusProj
from musproj.errors import ConfigurationError
from musproj.http.app import MusProjApp, create_app
from musproj.http.protocol import GuardedProtocol, watch_heads
from musproj.http.site import Authenticate
from musproj.settings import Settings

KEEP_ALIVE_SECONDS = 75
"""Longer than load balancers keep an idle connection (60 s, commonly), so that they never meet a closed one."""
GRACE_SECONDS = 15
"""What requests under way get when the server stops; a bucket call may take 10."""
BACKLOG = 2048
GC_THRESHOLDS = (20_000, 20, 50)
"""With what was loaded frozen: p99 16 → 3.5 ms, 11 % more requests/s (measured with `benchmarks/api.py`)."""

_WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 - refused or not, not bound


def serve(
    mp: MusProj, *, on_ready: Callable[[str], None] | None = None, authenticate: Authenticate | None = None
) -> None:
    """Serve the API until SIGTERM or SIGINT, then finish what is under way; a second signal ends at once.

    Args:
        mp: The installation; it stays open.
        on_ready: Called with the bound URL as soon as connections are answered.
        authenticate: As for `create_app`; where given, any address may be bound.

    Raises:
        ConfigurationError: the address may not be bound without a key, or cannot be bound.
    """
    check_bind(mp, has_authenticate=authenticate is not None)
    with listen(mp.settings) as listener:
        server = ApiServer(mp, listener, authenticate=authenticate)
        with _stopped_by_signals(server):
            server.run(on_ready=on_ready)


class ApiServer:
    """The API on a listening socket, for programs with signals of their own."""

    def __init__(
        self,
        mp: MusProj,
        listener: socket.socket,
        *,
        authenticate: Authenticate | None = None,
        grace_seconds: int = GRACE_SECONDS,
    ) -> None:
        """Prepare; nothing is answered yet.

        Args:
            mp: The installation; it stays open.
            listener: Where to accept connections; it is closed when the server stops.
            authenticate: As for `create_app`.
            grace_seconds: What requests under way get when the server stops.
        """
        self._listener = listener
        app = create_app(mp, authenticate=authenticate)
        config = uvicorn.Config(
            app,
            http=GuardedProtocol,
            loop="auto",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=grace_seconds,
        )
        self._server = _Server(config, app)

    def run(self, *, on_ready: Callable[[str], None] | None = None, settle: bool = True) -> None:
        """Answer until `stop` is called.

        Args:
            on_ready: Called with the bound URL as soon as connections are answered.
            settle: Whether to freeze what was loaded and to collect garbage more rarely, for the whole process.

        Raises:
            ConfigurationError: the app does not start; the log says why.
        """
        url = _url_of(self._listener)

        def started() -> None:
            if settle:
                _settle()
            if on_ready is not None:
                on_ready(url)

        self._server.on_started = started
        with contextlib.suppress(SystemExit):  # one of uvicorn's two ways to say that the lifespan failed
            self._server.run(sockets=[self._listener])
        if not self._server.started:
            raise ConfigurationError("The API does not start; the log says why.")

    def stop(self) -> None:
        """Finish what is under way and return from `run`; a second call cuts it short. Any thread may call it."""
        self._server.force_exit = self._server.should_exit
        self._server.should_exit = True


def check_bind(mp: MusProj, *, has_authenticate: bool = False) -> None:
    """Refuse an address that would be unsafe, or unreachable for those who are given its URLs.

    Raises:
        ConfigurationError: with what to set instead.
    """
    settings = mp.settings
    if not settings.is_loopback and not settings.api_key and not has_authenticate:
        raise ConfigurationError(
            f"Without an API key only this host may reach the API, so {settings.host} is not bound.",
            hint="Set MUSPROJ_API_KEY, or leave MUSPROJ_HOST at 127.0.0.1.",
        )
    if settings.host in _WILDCARDS and not settings.public_url and mp.opened_storage.gate is not None:
        raise ConfigurationError(
            f"Signed URLs would begin with {settings.base_url}, which no other host can reach.",
            hint="Set MUSPROJ_PUBLIC_URL to the address that clients use.",
        )


@contextlib.contextmanager
def listen(settings: Settings) -> Generator[socket.socket, None, None]:
    """Bind the address of the settings for the time of the block.

    Raises:
        ConfigurationError: it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as exc:
        raise ConfigurationError(
            f"{settings.host}:{settings.port} cannot be bound: {exc.strerror}.",
            hint="Is another server running? --port takes another one.",
        ) from exc
    with listener:
        yield listener


class _Server(uvicorn.Server):
    """Uvicorn, with our start and our end."""

    def __init__(self, config: uvicorn.Config, app: MusProjApp) -> None:
        super().__init__(config)
        self.on_started: Callable[[], None] = lambda: None
        self._site = app.site
        self._heads: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await super().startup(sockets)
        if not self.started:
            return
        self._heads = asyncio.create_task(watch_heads(self.server_state.connections))
        self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Turn readiness red and let the held requests go; then finish what is under way."""
        self._site.readiness.is_draining = True
        self._site.watcher.release()
        if self._heads is not None:
            self._heads.cancel()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone: uvicorn would raise them again after the drain, and end the process by them."""
        yield


def _settle() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


@contextlib.contextmanager
def _stopped_by_signals(server: ApiServer) -> Generator[None, None, None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
