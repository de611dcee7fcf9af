"""What `musproj doctor` looks at; each check says what it found and how to mend it."""

import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

import attrs

from musproj import MusProj, Settings
from musproj._version import __version__
from musproj.errors import MusProjError
from musproj.registry import missing_modules

OLDEST_PYTHON = (3, 11)
FEW_HANDLES = 1024
"""A worker keeps some twenty open per running job, the API one per connection."""
LITTLE_ROOM = 1 << 30
"""One long recording and what is made of it."""
OLDEST_CLOCK = 1_735_689_600
"""2025-01-01: no file of this program is older."""
MOST_SKEW = 5.0
"""Seconds; a lease is 30."""
WAL_FORMAT = b"\x02\x02"
"""Bytes 18 and 19 of a SQLite file in write-ahead mode (SQLite file format, 1.3)."""

EXTRAS = {
    "server": ("starlette", "msgspec", "uvicorn"),
    "audio": ("numpy", "soundfile", "soxr"),
    "codecs": ("av",),
}


@attrs.frozen
class Finding:
    """What one check found."""

    name: str
    status: str
    """`ok`, `warning` or `problem`."""
    detail: str
    fix: str | None = None


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield what every check finds; one that fails stops no other."""
    for name, check in _HERE.items():
        yield from _guarded(name, partial(check, settings))
    if not _is_started(settings):
        yield Finding("data", "ok", f"{settings.data} is not there yet; the first use makes it")
        return
    yield from _guarded("stores", lambda: _stores(settings))


def _guarded(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except MusProjError as exc:
        yield Finding(name, "problem", exc.message, exc.hint)
    except OSError as exc:
        yield Finding(name, "problem", str(exc))


# ── this machine ─────────────────────────────────────────────────────────────────────────────────


def _python(_settings: Settings) -> Iterator[Finding]:
    detail = f"{platform.python_version()}, musproj {__version__}, {platform.system()} {platform.machine()}"
    is_new = sys.version_info >= OLDEST_PYTHON
    yield Finding("python", "ok" if is_new else "problem", detail, None if is_new else "Use Python 3.11 or newer.")


def _extras(_settings: Settings) -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        missing = missing_modules(modules)
        if missing:
            yield Finding(extra, "warning", f"lacks {', '.join(missing)}", f"pip install 'musproj[{extra}]'")
        else:
            yield Finding(extra, "ok", ", ".join(f"{module} {_version_of(module)}" for module in modules))


def _handles(_settings: Settings) -> Iterator[Finding]:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_enough = soft == resource.RLIM_INFINITY or soft >= FEW_HANDLES
    yield Finding("file handles", "ok" if is_enough else "warning", str(soft), None if is_enough else "ulimit -n 4096")


def _clock(_settings: Settings) -> Iterator[Finding]:
    now = time.time()
    if now < OLDEST_CLOCK:
        yield Finding("clock", "problem", f"it says {time.strftime('%Y-%m-%d', time.gmtime(now))}", "Set the clock.")
    else:
        yield Finding("clock", "ok", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


def _api(settings: Settings) -> Iterator[Finding]:
    if settings.is_loopback or settings.api_key:
        key = "with a key" if settings.api_key else "without a key, loopback only"
        yield Finding("api", "ok", f"{settings.host}:{settings.port} {key}")
    else:
        yield Finding("api", "problem", f"{settings.host} is open to others without a key", "Set MUSPROJ_API_KEY.")


def _processors(settings: Settings) -> Iterator[Finding]:
    from musproj.composition import open_catalog

    catalog = open_catalog(settings)
    ready = catalog.runnable()
    yield Finding("processors", "ok" if ready else "warning", ", ".join(sorted(ready)) or "none can run here")
    for spec in catalog.specs():
        if spec.name not in ready:
            missing = ", ".join(missing_modules(spec.requires))
            fix = f"pip install 'musproj[{spec.extra}]'" if spec.extra else f"Install {missing}."
            yield Finding(f"processor {spec.name}", "warning", f"lacks {missing}", fix)
    for plugin in catalog.plugins():
        if plugin.error is not None:
            yield Finding(f"processor {plugin.name}", "problem", f"does not load: {plugin.error}", plugin.target)


_HERE: dict[str, Callable[[Settings], Iterator[Finding]]] = {
    "python": _python,
    "extras": _extras,
    "file handles": _handles,
    "clock": _clock,
    "api": _api,
    "processors": _processors,
}


# ── the stores ───────────────────────────────────────────────────────────────────────────────────


def _is_started(settings: Settings) -> bool:
    """Tell whether there are stores to open; doctor itself makes none."""
    is_embedded = settings.metadata_url.startswith("sqlite:") and settings.storage_url.startswith("file:")
    return settings.data.exists() or not is_embedded


def _stores(settings: Settings) -> Iterator[Finding]:
    if settings.data.exists():
        yield from _guarded("data", lambda: _folder(settings.data))
    with MusProj.open(settings) as mp:
        yield from _guarded("metadata", lambda: _metadata(mp))
        yield from _guarded("storage", lambda: _storage(mp))
        yield from _guarded("workers", lambda: _workers(mp))


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


def _storage(mp: MusProj) -> Iterator[Finding]:
    next(mp.opened_storage.storage.list("assets/"), None)
    signs = "signs URLs" if mp.opened_storage.signed_urls is not None else "cannot sign URLs"
    yield Finding("storage", "ok", f"{mp.settings.storage_url.partition(':')[0]}: answers, {signs}")


def _workers(mp: MusProj) -> Iterator[Finding]:
    workers, waiting = mp.metadata.jobs.workers(), mp.queue.depth()
    names = ", ".join(f"{worker.host}:{worker.pid} ({worker.concurrency})" for worker in workers)
    if workers:
        yield Finding("workers", "ok", f"{names}; jobs waiting: {waiting}")
    else:
        status = "warning" if waiting else "ok"
        yield Finding("workers", status, f"none; jobs waiting: {waiting}", "musproj work" if waiting else None)


def _version_of(module: str) -> str:
    try:
        return installed_version(module)
    except PackageNotFoundError:
        return "of unknown version"
