"""What `musproj doctor` looks at in the stores; each check says what it found and how to mend it."""

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from musproj import MusProj, Settings
from musproj.application.bucket_check import BucketCheck
from musproj.cli.guarded import guarded
from musproj.cli.service_checks import examine_keys, examine_services
from musproj.ports.findings import Finding, Status
from musproj.settings import LOOPBACK, without_password

LITTLE_ROOM = 1 << 30
"""One long recording and what is made of it."""
MOST_SKEW = 5.0
"""Seconds; a lease is 30."""
WAL_FORMAT = b"\x02\x02"
"""Bytes 18 and 19 of a SQLite file in write-ahead mode (SQLite file format, 1.3)."""
IDLE_COMMANDS, IDLE_COMMANDS_ECONOMY = 0.25, 0.11
"""Commands that an idle worker has its Redis execute per second, counted over 4 min on Redis 7.0."""
MONTH = 30 * 86_400


def examine_stores(settings: Settings) -> Iterator[Finding]:
    """Yield what the checks of all stores find; doctor itself makes no embedded one."""
    if not _is_started(settings):
        yield Finding("data", "ok", f"{settings.data} is not there yet; the first use makes it")
        yield from examine_keys(settings)
        return
    if settings.data.exists():
        yield from guarded("data", lambda: _folder(settings.data))
    yield from guarded("stores", lambda: _opened(settings))


def _is_started(settings: Settings) -> bool:
    is_embedded = settings.metadata_url.startswith("sqlite:") and settings.storage_url.startswith("file:")
    return settings.data.exists() or not is_embedded


def _opened(settings: Settings) -> Iterator[Finding]:
    with MusProj.open(settings, is_interactive=True) as mp:
        yield from guarded("metadata", lambda: _metadata(mp))
        if _is_on_redis(settings):
            yield from guarded("redis", lambda: _redis(mp))
        yield from guarded("storage", lambda: _storage(mp))
        yield from guarded("workers", lambda: _workers(mp))
        yield from examine_services(mp)


def _folder(data: Path) -> Iterator[Finding]:
    try:
        with tempfile.NamedTemporaryFile(dir=data, prefix=".doctor-") as probe:
            probe.write(b"x")
            probe.flush()
            skew = Path(probe.name).stat().st_mtime - time.time()
    except OSError as exc:
        fix = "Make it a folder that this user may write into, or set MUSPROJ_DATA."
        yield Finding("data", "problem", f"{data} cannot be written: {exc.strerror}", fix)
        return
    free = shutil.disk_usage(data).free
    yield Finding("data", "ok", f"{data} can be written")
    if abs(skew) > MOST_SKEW:
        yield Finding("data", "problem", f"its file system's clock is {skew:+.1f} s off", "Use a local disk.")
    is_enough = free >= LITTLE_ROOM
    yield Finding(
        "disk", "ok" if is_enough else "problem", f"{free / 1e9:.1f} GB free", None if is_enough else "musproj gc --run"
    )


def _metadata(mp: MusProj) -> Iterator[Finding]:
    yield Finding("metadata", "ok", mp.metadata.check())
    scheme, _, path = mp.settings.metadata_url.partition(":")
    if scheme == "sqlite":
        with Path(path).expanduser().open("rb") as file:
            is_wal = file.read(20)[18:] == WAL_FORMAT
        detail = f"SQLite {sqlite3.sqlite_version}, {'write-ahead log' if is_wal else 'no write-ahead log'}"
        yield Finding("database", "ok" if is_wal else "problem", detail, None if is_wal else "PRAGMA journal_mode=WAL")


# ── Redis ────────────────────────────────────────────────────────────────────────────────────────


def _is_on_redis(settings: Settings) -> bool:
    return settings.metadata_url.startswith(("redis:", "rediss:"))


def _redis(mp: MusProj) -> Iterator[Finding]:
    settings = mp.settings
    begun = time.monotonic()
    mp.queue.depth()
    latency = 1000 * (time.monotonic() - begun)
    yield Finding("redis", "ok", f"{without_password(settings.metadata_url)} answers in {latency:.0f} ms")
    yield _transport(settings)
    yield from mp.metadata.examine()
    yield _cost(settings)


def _transport(settings: Settings) -> Finding:
    parts = urlsplit(settings.metadata_url)
    if parts.scheme == "rediss":
        return Finding("redis tls", "ok", "encrypted")
    if parts.hostname is None or parts.hostname in LOOPBACK:
        return Finding("redis tls", "ok", "not encrypted, on this host")
    detail = f"to {parts.hostname} nothing is encrypted, the password neither"
    return Finding("redis tls", "warning", detail, "Use rediss:// where the server speaks TLS, or a private network.")


def _cost(settings: Settings) -> Finding:
    rate = IDLE_COMMANDS_ECONOMY if settings.economy else IDLE_COMMANDS
    detail = f"an idle worker takes {rate:.2f} commands/s, {rate * MONTH / 1e6:.1f} million a month"
    if settings.economy:
        return Finding("redis commands", "ok", detail)
    other = IDLE_COMMANDS_ECONOMY * MONTH / 1e6
    return Finding("redis commands", "ok", f"{detail}; with MUSPROJ_ECONOMY=true {other:.1f}")


# ── objects and workers ──────────────────────────────────────────────────────────────────────────


def _storage(mp: MusProj) -> Iterator[Finding]:
    opened = mp.opened_storage
    next(opened.storage.list("assets/"), None)
    signs = "signs URLs" if opened.signed_urls is not None else "cannot sign URLs"
    yield Finding("storage", "ok", f"{mp.settings.storage_url.partition(':')[0]}: answers, {signs}")
    if opened.gate is None and opened.local_files is None and opened.signed_urls is not None:
        yield from _bucket(mp)


def _bucket(mp: MusProj) -> Iterator[Finding]:
    from musproj.cli.raw_http import fetch

    opened = mp.opened_storage
    check = BucketCheck(
        storage=opened.storage,
        signed_urls=opened.signed_urls,
        multipart=opened.multipart,
        clock=mp.clock,
        fetch=fetch,
        origins=mp.settings.cors_origins,
    )
    yield from check.examine()
    if opened.signed_urls is not None and opened.signed_urls.max_put_bytes is not None:
        most = opened.signed_urls.max_put_bytes / 1024**3
        yield Finding("bucket outputs", "ok", f"what a job makes may have {most:.2f} GiB")


def _workers(mp: MusProj) -> Iterator[Finding]:
    workers, waiting = mp.metadata.jobs.workers(), mp.queue.depth()
    names = ", ".join(f"{worker.host}:{worker.pid} ({worker.concurrency})" for worker in workers)
    if workers:
        yield Finding("workers", "ok", f"{names}; jobs waiting: {waiting}")
    else:
        status: Status = "warning" if waiting else "ok"
        yield Finding("workers", status, f"none; jobs waiting: {waiting}", "musproj work" if waiting else None)
