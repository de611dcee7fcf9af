"""Workers that live, as they last announced themselves."""

import json
from datetime import datetime, timedelta

import attrs

from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.connection import Command
from musproj.codec import from_plain, to_plain
from musproj.errors import CorruptRecordError
from musproj.ports.jobs import WORKER_LIFE, LiveWorker

FORGET = timedelta(days=1)


class Workers:
    """The workers of one installation."""

    def __init__(self, backend: RedisBackend) -> None:
        self._backend = backend

    def announce(self, worker: LiveWorker) -> None:
        """Write what the worker says of itself, but when that was: its clock may be wrong."""
        if self._backend.clock is None:
            worker = attrs.evolve(worker, seen_at=self._backend.read_at()[0])
        body = json.dumps(to_plain(worker), separators=(",", ":"))
        self._backend.connection.execute([("HSET", self._backend.keys.workers, worker.worker_id, body)])

    def withdraw(self, worker_id: str) -> None:
        """Forget the worker."""
        self._backend.connection.execute([("HDEL", self._backend.keys.workers, worker_id)])

    def living(self) -> list[LiveWorker]:
        """Return those that gave a sign of life lately, by id; drop those that are long gone."""
        key = self._backend.keys.workers
        now, (reply,) = self._backend.read_at(("HGETALL", key))
        found = [_read(body) for body in reply[1::2]]
        gone = [name for name, seen in zip(reply[::2], found, strict=True) if _is_long_gone(seen, now)]
        if gone:
            command: Command = ("HDEL", key, *gone)
            self._backend.connection.execute([command])
        alive = [seen for seen in found if seen is not None and seen.seen_at > now - WORKER_LIFE]
        return sorted(alive, key=lambda seen: seen.worker_id)


def _is_long_gone(seen: LiveWorker | None, now: datetime) -> bool:
    return seen is None or seen.seen_at < now - FORGET


def _read(body: bytes) -> LiveWorker | None:
    try:
        return from_plain(LiveWorker, json.loads(body))
    except (ValueError, CorruptRecordError):
        return None
