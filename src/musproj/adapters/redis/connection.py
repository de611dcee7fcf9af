"""The one seam to Redis: commands in, replies out, a connection for each thread.

The library's connection does the handshake, TLS and the protocol; its clients and pipelines are left out, because
they cost more than the round trip (`docs/adr`).
"""

import os
import select
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import hiredis
from redis import connection as library
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import InvalidResponse, NoScriptError, RedisError
from redis.retry import Retry

from musproj.adapters.redis.faults import is_ambiguous, translated
from musproj.adapters.redis.script import Script
from musproj.errors import BackendUnavailableError, ConfigurationError, InvalidError

Command = tuple[str | bytes | int | float, ...]

Connection = Any
"""One of `redis.connection`: its types are incomplete, so it is used as untyped here and nowhere else."""

_library: Any = library
_pack: Any = cast("Any", hiredis).pack_command  # its stub takes a tuple of one

CONNECT_TIMEOUT_S = 3.0
REPLY_TIMEOUT_S = 5.0
OPTIONS = frozenset({
    "connection_class", "host", "port", "db", "username", "password", "client_name",
    "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname",
})  # fmt: skip
"""What a URL may say; the rest is ours to decide."""
READ_BYTES = 1 << 16
IDLE_CHECK_S = 1.0
"""A connection that rested longer is looked at before it is used: servers and balancers close idle ones."""


class RedisConnection:
    """Executes commands on one database; usable from several threads and across forks."""

    def __init__(self, url: str, *, reply_timeout_s: float = REPLY_TIMEOUT_S) -> None:
        """Note where it is; nothing is sent yet.

        Raises:
            ConfigurationError: the URL is wrong.
        """
        self._arguments = _arguments_of(url)
        self._kind: Any = self._arguments.pop("connection_class", _library.Connection)
        self._arguments.update(
            socket_timeout=reply_timeout_s,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_keepalive=True,
            protocol=2,  # a service that speaks like Redis may not know HELLO 3
            retry=Retry(NoBackoff(), 0),
        )
        self.where = f"{self._arguments.get('host', 'localhost')}:{self._arguments.get('port', 6379)}"
        """The server, without its password."""
        self.database: int = self._arguments.get("db", 0)
        self._here = threading.local()
        self._all: weakref.WeakSet[_Seat] = weakref.WeakSet()
        self._is_closed = False

    def execute(self, commands: Sequence[Command], *, atomic: bool = False) -> list[Any]:
        """Send `commands` in one go and return their replies, bytes where Redis has strings.

        With `atomic` nobody else's commands come between them (MULTI).

        Raises:
            BackendUnavailableError: no answer, or none that can be worked with; a write may have happened.
            CorruptRecordError: a key holds another type than a record of ours.
        """
        seat = self._seat()
        sent = [("MULTI",), *commands, ("EXEC",)] if atomic else list(commands)
        try:
            replies = seat.converse(sent)
        except (RedisError, OSError) as exc:
            raise self._failed(seat, exc) from exc
        except UnicodeEncodeError as exc:
            raise InvalidError(
                f"A text holds a lone surrogate ({exc.object[exc.start]!a}), which cannot be stored."
            ) from exc
        self._refuse_errors(replies)
        if not atomic:
            return replies
        inner: list[Any] = replies[-1]
        self._refuse_errors(inner)
        return inner

    def evaluate(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes], *, wait_ms: int = 0
    ) -> Any:
        """Run `script` by its digest, or by its text where the server does not know it yet; return its reply.

        Where `wait_ms` is given, a replica gets so long to have the write too; if none has it by then, so be it.

        Raises:
            BackendUnavailableError: as `execute`.
            CorruptRecordError: as `execute`.
        """
        after: list[Command] = [("WAIT", 1, wait_ms)] if wait_ms else []
        rest = (len(keys), *keys, *arguments)
        try:
            return self.execute([("EVALSHA", script.digest, *rest), *after])[0]
        except BackendUnavailableError:
            raise
        except Exception as exc:
            if not isinstance(exc.__cause__, NoScriptError):
                raise
        return self.execute([("EVAL", script.text, *rest), *after])[0]

    def open_apart(self, *, patience_s: float) -> Connection:
        """Return a connection for one that blocks or subscribes, made within `patience_s`; the caller disconnects it.

        Raises:
            BackendUnavailableError: it cannot be made.
        """
        limits = {"socket_timeout": patience_s, "socket_connect_timeout": patience_s}
        connection = self._kind(**{**self._arguments, **limits})
        try:
            connection.connect()
        except (RedisError, OSError) as exc:
            raise translated(exc, self.where) from exc
        return connection

    def close(self) -> None:
        """Close the connections of all threads; a second call does nothing."""
        self._is_closed = True
        for seat in list(self._all):
            seat.close()

    def _refuse_errors(self, replies: list[Any]) -> None:
        for reply in replies:
            if isinstance(reply, RedisError):
                raise translated(reply, self.where) from reply

    def _seat(self) -> "_Seat":
        if self._is_closed:
            raise BackendUnavailableError(f"The connection to Redis at {self.where} is closed.")
        seat: _Seat | None = getattr(self._here, "seat", None)
        if seat is None or seat.pid != os.getpid():
            seat = self._here.seat = _Seat(self._kind(**self._arguments))
            self._all.add(seat)
        return seat

    def _failed(self, seat: "_Seat", exc: Exception) -> Exception:
        seat.close()
        error = translated(exc, self.where)
        error.facts["ambiguous"] = is_ambiguous(exc)
        return error


class _Seat:
    """A thread's connection, and when it was last used.

    The library connects and greets; from then on commands are packed and replies read by hiredis alone, which costs
    a third of the library's way (`benchmarks/api.py --redis`).
    """

    __slots__ = ("__weakref__", "_connection", "_reader", "_socket", "_used_at", "pid")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._socket: Any = None
        self._reader: Any = None
        self._used_at = 0.0
        self.pid = os.getpid()

    def converse(self, commands: Sequence[Command]) -> list[Any]:
        """Send `commands` and read as many replies; error replies come as exceptions among them."""
        now = time.monotonic()
        if self._socket is not None and now - self._used_at > IDLE_CHECK_S and self._was_hung_up():
            self.close()
        peer = self._socket if self._socket is not None else self._open()
        self._used_at = now
        peer.sendall(b"".join(map(_pack, commands)))
        return self._replies(len(commands))

    def close(self) -> None:
        self._socket = self._reader = None
        if self.pid == os.getpid():
            with suppress(Exception):
                self._connection.disconnect()

    def _open(self) -> Any:
        self._connection.connect()
        parser = self._connection._parser  # noqa: SLF001 - which knows the errors by their first words
        self._socket = self._connection._sock  # noqa: SLF001 - the library has no other door to it
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=parser.parse_error)
        return self._socket

    def _replies(self, count: int) -> list[Any]:
        found: list[Any] = []
        while len(found) < count:
            reply = self._reader.gets()
            if reply is not False:  # no reply of RESP 2 is false
                found.append(reply)
                continue
            received = self._socket.recv(READ_BYTES)
            if not received:
                raise ConnectionLost("it closed the connection")
            self._reader.feed(received)
        return found

    def _was_hung_up(self) -> bool:
        """Tell whether something can be read although nothing was asked: then it is the end of the stream."""
        return bool(select.select([self._socket], [], [], 0)[0])


def _arguments_of(url: str) -> dict[str, Any]:
    try:
        arguments: dict[str, Any] = _library.parse_url(url)
    except ValueError as exc:
        raise ConfigurationError(
            f"The Redis URL is wrong: {exc}.", hint="redis://[user:password@]host[:port][/db]"
        ) from exc
    if arguments.get("connection_class") not in (None, _library.SSLConnection):
        raise ConfigurationError("A Redis URL begins with redis:// or rediss://.")
    unknown = sorted(set(arguments) - OPTIONS)
    if unknown:
        raise ConfigurationError(
            f"The Redis URL has unknown options: {', '.join(unknown)}.", hint=f"Known are {', '.join(sorted(OPTIONS))}."
        )
    return arguments
