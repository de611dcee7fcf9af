"""What `musproj doctor` looks at; each check says what it found and how to mend it."""

import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from musproj import Settings
from musproj._version import __version__
from musproj.cli.guarded import guarded
from musproj.cli.store_checks import examine_stores
from musproj.errors import MusProjError
from musproj.ports.findings import Finding
from musproj.registry import missing_for, missing_modules
from musproj.services import keys_of
from musproj.settings import without_password

OLDEST_PYTHON = (3, 11)
FEW_HANDLES = 1024
"""A worker keeps some twenty open per running job, the API one per connection."""
OLDEST_CLOCK = 1_735_689_600
"""2025-01-01: no file of this program is older."""
RQ_LINE = "3."
"""Entries are written in the format of these releases."""

EXTRAS = {
    "server": ("starlette", "msgspec", "uvicorn"),
    "audio": ("numpy", "soundfile", "soxr"),
    "codecs": ("av",),
    "s3": ("boto3", "urllib3"),
    "redis": ("redis", "rq"),
    "services": ("httpx",),
}
SCHEMES = {"s3": ("s3:", "r2:"), "redis": ("redis:", "rediss:", "rq+")}
"""Extras that are wanted only where a setting begins so."""


def examine(settings: Settings, wrong: Sequence[MusProjError] = ()) -> Iterator[Finding]:
    """Yield what every check finds; one that fails stops no other.

    Where some settings are `wrong`, and `settings` are the others, no store is opened: it could be another one.
    """
    yield from _settings(settings, wrong)
    for name, check in _HERE.items():
        yield from guarded(name, partial(check, settings))
    if not wrong:
        yield from examine_stores(settings)


def _settings(settings: Settings, wrong: Sequence[MusProjError]) -> Iterator[Finding]:
    for error in wrong:
        name = error.facts.get("setting")
        yield Finding(f"setting {name}" if name else "settings", "problem", error.message, error.hint)
    if not wrong:
        detail = f"storage {settings.storage_url}, metadata {settings.metadata_url}, queue {settings.queue_url}"
        yield Finding("settings", "ok", without_password(detail))


# ── this machine ─────────────────────────────────────────────────────────────────────────────────


def _python(_settings: Settings) -> Iterator[Finding]:
    detail = f"{platform.python_version()}, musproj {__version__}, {platform.system()} {platform.machine()}"
    is_new = sys.version_info >= OLDEST_PYTHON
    yield Finding("python", "ok" if is_new else "problem", detail, None if is_new else "Use Python 3.11 or newer.")


def _extras(settings: Settings) -> Iterator[Finding]:
    urls = (settings.storage_url, settings.metadata_url, settings.queue_url)
    for extra, modules in EXTRAS.items():
        if extra == "services" and not keys_of(settings):
            continue
        if not any(url.startswith(SCHEMES.get(extra, "")) for url in urls):
            continue
        missing = missing_modules(modules)
        if missing:
            yield Finding(extra, "warning", f"lacks {', '.join(missing)}", f"pip install 'musproj[{extra}]'")
        else:
            yield Finding(extra, "ok", ", ".join(f"{module} {_version_of(module)}" for module in modules))
    if SCHEMES["redis"][-1] in settings.queue_url and not _version_of("rq").startswith(RQ_LINE):
        yield Finding("rq", "problem", f"rq {_version_of('rq')} writes other entries", "pip install 'musproj[redis]'")


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
    from musproj.cli.call import import_from_here
    from musproj.composition import open_catalog

    if settings.processors:
        import_from_here()
    catalog = open_catalog(settings)
    ready = catalog.runnable()
    yield Finding("processors", "ok" if ready else "warning", ", ".join(sorted(ready)) or "none can run here")
    for spec in catalog.specs():
        if spec.name not in ready:
            missing = ", ".join(missing_for(spec))
            by_pip = spec.extra and missing_modules(spec.requires)
            fix = f"pip install 'musproj[{spec.extra}]'" if by_pip else f"Install {missing}."
            yield Finding(f"processor {spec.name}", "warning", f"lacks {missing}", fix)
    for plugin in catalog.plugins():
        if plugin.error is not None:
            yield Finding(f"processor {plugin.name}", "problem", f"does not load: {plugin.error}", plugin.target)


def _engines(settings: Settings) -> Iterator[Finding]:
    from musproj.application import params
    from musproj.composition import open_catalog

    catalog = open_catalog(settings)
    for name, engine in catalog.engines.items():
        try:
            spec = catalog.get(name).spec
            needs = spec.needs(params.parse(spec.params, {"engine": engine}))
            if not catalog.abilities().issuperset(needs):
                yield Finding(f"engine of {name}", "warning", f"{engine} has no key here", "Its jobs wait for one.")
        except MusProjError as exc:
            yield Finding(f"engine of {name}", "problem", exc.message, "Mend MUSPROJ_ENGINES.")


def _presets(settings: Settings) -> Iterator[Finding]:
    from musproj.application import params
    from musproj.composition import open_catalog
    from musproj.errors import MusProjError

    try:
        catalog = open_catalog(settings)
    except MusProjError as exc:
        yield Finding("presets", "problem", exc.message, exc.hint or "")
        return
    wrong = 0
    for preset in catalog.presets.values():
        if preset.name in catalog.runnable():
            yield Finding(
                f"preset {preset.name}", "warning", "has the name of a processor, which it hides", "Rename it."
            )
        try:
            params.parse(catalog.get(preset.type).spec.params, preset.params)
        except MusProjError as exc:
            wrong += 1
            yield Finding(
                f"preset {preset.name}", "problem", exc.message, exc.hint or f"Mend it in {settings.presets}."
            )
    if catalog.presets and not wrong:
        yield Finding("presets", "ok", ", ".join(sorted(catalog.presets)))


_HERE: dict[str, Callable[[Settings], Iterator[Finding]]] = {
    "python": _python,
    "extras": _extras,
    "file handles": _handles,
    "clock": _clock,
    "api": _api,
    "processors": _processors,
    "engines": _engines,
    "presets": _presets,
}


def _version_of(module: str) -> str:
    try:
        return installed_version(module)
    except PackageNotFoundError:
        return "of unknown version"
