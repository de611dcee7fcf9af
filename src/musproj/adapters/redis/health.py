"""How the server is set up, and who else uses the queue: what `musproj doctor` shows of Redis."""

import re
from collections.abc import Iterator, Mapping
from itertools import takewhile

from musproj.adapters.redis.backend import RedisBackend, Wire
from musproj.domain.ids import is_id
from musproj.ports.findings import Finding, Status

OLDEST = (6, 2)
"""LMOVE and BLMOVE, ZRANGE BYSCORE, SET … GET."""
READY_MS = 60_000
"""Then the key that tells nothing goes by itself."""
ENTRIES = 100
"""So many of the queue's first entries are looked at."""


def examine(backend: RedisBackend, queue: str) -> Iterator[Finding]:
    """Yield what there is to say.

    Raises:
        BackendUnavailableError: no answer.
    """
    facts = _facts(backend)
    yield _version(facts)
    yield _eviction(facts)
    yield _persistence(facts)
    yield _replicas(facts, backend.wait_ms)
    if backend.wire is not None:
        yield from _queue(backend, backend.wire, queue)


def check_writable(backend: RedisBackend) -> None:
    """Write a key that means nothing: a replica and a full server answer reads as if all were well.

    Raises:
        BackendUnavailableError: no answer, or a refusal.
    """
    backend.read(("SET", backend.keys.ready, "1", "PX", READY_MS))


def _facts(backend: RedisBackend) -> Mapping[str, str]:
    (reply,) = backend.read(("INFO",))
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value.strip() for name, _, value in pairs}


def _version(facts: Mapping[str, str]) -> Finding:
    told = facts.get("redis_version", "")
    numbers = tuple(int(part) for part in takewhile(str.isdigit, told.split(".")))
    if not numbers:
        return Finding(
            "redis version", "warning", "it does not tell its version", "It must be like Redis 6.2 or newer."
        )
    is_new = numbers >= OLDEST
    return Finding(
        "redis version",
        "ok" if is_new else "problem",
        f"{told}, {facts.get('redis_mode', 'unknown')}",
        None if is_new else "Use Redis 6.2 or newer.",
    )


def _eviction(facts: Mapping[str, str]) -> Finding:
    policy = facts.get("maxmemory_policy")
    limit = facts.get("maxmemory_human", facts.get("maxmemory", "?"))
    if policy is None:
        return Finding("redis eviction", "warning", "it does not tell its policy", "Switch eviction off.")
    detail = f"maxmemory-policy {policy}, maxmemory {limit}"
    if policy == "noeviction":
        return Finding("redis eviction", "ok", detail)
    status: Status = "problem" if policy.startswith("allkeys") else "warning"
    what = "jobs and assets can vanish" if status == "problem" else "what a repeated request relies on can vanish"
    return Finding("redis eviction", status, f"{detail}: {what}", "CONFIG SET maxmemory-policy noeviction")


def _persistence(facts: Mapping[str, str]) -> Finding:
    enabled = facts.get("aof_enabled")
    if enabled == "0":
        detail = "appendonly no: what was written since the last snapshot is lost when the server dies"
        fix = "CONFIG SET appendonly yes, with appendfsync everysec: then it is a second at most"
        return Finding("redis persistence", "warning", detail, fix)
    if enabled is None:
        return Finding("redis persistence", "ok", "not told; a hosted service keeps it by itself")
    if facts.get("aof_last_write_status", "ok") != "ok":
        return Finding(
            "redis persistence", "problem", "its last write to disk failed", "Look at the server's log and disk."
        )
    return Finding("redis persistence", "ok", "appendonly yes")


def _replicas(facts: Mapping[str, str], wait_ms: int) -> Finding:
    count = int(facts.get("connected_slaves", "0") or 0)
    if facts.get("role", "master") != "master":
        return Finding("redis replicas", "problem", "it is a replica: it takes no writes", "Name its master's address.")
    if wait_ms and not count:
        detail = f"none, so that each acknowledged write waits {wait_ms} ms for nobody"
        return Finding("redis replicas", "warning", detail, "Set MUSPROJ_REDIS_WAIT_MS=0, or add a replica.")
    waited = f"an acknowledged write waits {wait_ms} ms for one" if wait_ms else "no write waits for one"
    return Finding("redis replicas", "ok", f"{count}; {waited}")


# ── the queue ────────────────────────────────────────────────────────────────────────────────────


def _queue(backend: RedisBackend, wire: Wire, queue: str) -> Iterator[Finding]:
    # RQ keeps its registries beside its set of queues, under the same prefix.
    prefix = wire.queues_key.removesuffix("queues")
    waiting, taken, entries, workers, failed = backend.read(
        ("LLEN", wire.queue_key(queue)),
        ("LLEN", wire.taken_key(queue)),
        ("LRANGE", wire.queue_key(queue), 0, ENTRIES - 1),
        ("SCARD", f"{prefix}workers:{queue}"),
        ("ZCARD", f"{prefix}failed:{queue}"),
    )
    yield Finding("queue", "ok", f"{queue}: {waiting} entries wait, {taken} are taken")
    foreign = [entry.decode("utf-8", "replace") for entry in entries if not _is_ours(entry)]
    if foreign:
        yield Finding(
            "queue entries",
            "warning",
            f"{len(foreign)} of the first {len(entries)} are not of this program: {foreign[0]!r}",
            "Another program uses the queue: give this one a name of its own by MUSPROJ_QUEUE_NAME.",
        )
    if workers:
        yield Finding(
            "rq workers",
            "warning",
            f"{workers} stock RQ workers take from this queue; they trust whoever can write to Redis",
            f"Run `musproj work` instead; or all workers as `rq worker --serializer json {queue}`.",
        )
    if failed:
        yield Finding(
            "rq failures",
            "warning",
            f"RQ notes {failed} entries as failed; the jobs' own records decide",
            f"Start stock workers as `rq worker --serializer json {queue}`: without the serializer none can be read.",
        )


_ENTRY = re.compile(rb"([A-Za-z0-9_-]+)-([0-9]+)")


def _is_ours(entry: bytes) -> bool:
    match = _ENTRY.fullmatch(entry)
    return match is not None and match[1].startswith(b"job_") and is_id(match[1].decode())
