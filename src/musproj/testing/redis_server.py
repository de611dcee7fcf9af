"""A redis-server of one's own: to fill, stop, pause, restart, and to follow by a replica."""

import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from redis import Redis

from musproj.testing.processes import HOST, free_ports, start, stop, wait_until_up

PROGRAM = "redis-server"


class Addressed(Protocol):
    """What listens on a port of this host: a server, or a relay before one."""

    port: int


class RedisServer:
    """One server on loopback, in a folder that goes with it; use it as a context manager.

    Example:
        >>> with RedisServer() as redis:  # doctest: +SKIP
        ...     redis.command("PING")
    """

    def __init__(self, *, appendonly: bool = False, replica_of: "Addressed | None" = None, options: str = "") -> None:
        """Note how to start it.

        Args:
            appendonly: Whether it writes a log, synced each second, and so survives `restart`.
            replica_of: The server to follow, or a relay before it.
            options: More of its command line, such as `--repl-diskless-sync-delay 0`.
        """
        self._appendonly = appendonly
        self._replica_of = replica_of
        self._options = options.split()
        (self.port,) = free_ports()

    @property
    def url(self) -> str:
        """Where it is, database 0."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running program."""
        return self._process

    def __enter__(self) -> Self:
        """Start it."""
        self._folder = tempfile.TemporaryDirectory(prefix="musproj-redis-")
        self._client = Redis(host=HOST, port=self.port, protocol=2)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it and drop its data."""
        self._client.close()
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it with the data of the last time, and wait until it answers."""
        log = Path(self._folder.name, "log")
        command = [PROGRAM, "--bind", HOST, "--port", str(self.port), "--dir", self._folder.name, "--save", ""]
        command += ["--appendonly", "yes" if self._appendonly else "no", "--appendfsync", "everysec", *self._options]
        if self._replica_of is not None:
            command += ["--replicaof", HOST, str(self._replica_of.port)]
        self._process = start(command, log=log)
        wait_until_up(self._is_up, [self._process], log)

    def stop(self, *, kill: bool = False) -> None:
        """End it, by SIGKILL where asked; the data stay until the block ends."""
        stop(self._process, kill=kill)

    def restart(self, *, kill: bool = False) -> None:
        """End and start it."""
        self.stop(kill=kill)
        self.start()

    def pause(self) -> None:
        """Let it stand still: it accepts connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def command(self, *words: str | int) -> Any:
        """Return the reply to a command."""
        return self._client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py has no types here

    def calls(self) -> dict[str, int]:
        """Return how often each command was executed since the last `CONFIG RESETSTAT`, in scripts too."""
        stats = self._client.info("commandstats")
        assert isinstance(stats, dict)
        return {name.removeprefix("cmdstat_"): int(facts["calls"]) for name, facts in stats.items()}

    def _is_up(self) -> bool:
        try:
            return bool(self._client.ping())
        except Exception as exc:  # redis-py's own errors, of a server that is not there yet or is loading
            raise ConnectionError from exc
