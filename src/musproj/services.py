"""The outside services that the settings have a key for, and the policy of their use."""

import logging
import stat
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from musproj.application.outside import Outside, Services
from musproj.application.remote_policy import RemotePolicy
from musproj.domain import media
from musproj.domain.keys import ObjectKey
from musproj.domain.text import printable
from musproj.errors import ConfigurationError
from musproj.ports.plugin import OpenedMetadata, OpenedStorage, ServiceContext, ServiceProfile
from musproj.ports.remote import MOST_SPENT, RemoteService
from musproj.registry import SERVICES, has, load, missing_modules, require
from musproj.settings import Settings

FILE = "file:"
"""Before the path of a key."""
PROFILE = "musproj.adapters.services.plugin:open_profile"
URL_LIFE = timedelta(hours=24)
"""Of an input's address: it must outlive the service's queue."""

_PRIVATE_NAMES = (".local", ".internal", ".localhost", ".localdomain", ".lan", ".home.arpa", ".test")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_OWN_SETTINGS = ("auphonic", "lalal")

log = logging.getLogger(__name__)

Opener = Callable[[ServiceContext], RemoteService]


class ConfiguredServices(Services):
    """Opens each service once, when it is first needed."""

    __slots__ = ("_keys", "_names", "_opened", "_profiles", "_settings")

    def __init__(self, settings: Settings, profiles: Iterable[ServiceProfile] = ()) -> None:
        """Take the keys of `settings`, and the services that `profiles` describe, of which some need none.

        Raises:
            ConfigurationError: a setting of keys is malformed.
        """
        self._settings = settings
        self._profiles = {profile.name: profile for profile in profiles}
        in_files = {p.name: f"{FILE}{p.key_file}" if p.key_file else "" for p in self._profiles.values()}
        self._keys = in_files | keys_of(settings)
        self._opened: dict[str, RemoteService] = {}
        self._names: frozenset[str] | None = None

    def configured(self) -> frozenset[str]:
        """Return the services that the settings name, whether or not their keys can be read."""
        return frozenset(self._keys)

    def names(self) -> frozenset[str]:
        """Return the services that can be used here: their keys can be read, and their libraries are there."""
        if self._names is None:
            keys = self._keys if self._keys and not missing_modules(["httpx"]) else {}
            known = {name for name in keys if name in self._profiles or has(SERVICES, name)}
            for name in sorted(set(keys) - known):
                log.error("There is no service %r.", name, extra={"action": "service_unknown", "service": name})
            self._names = frozenset(name for name in keys if name in known and self._has_key(name))
        return self._names

    def usable(self) -> frozenset[str]:
        """Return those of `names` that can be opened, which imports their libraries: what a worker is able to use."""
        found: set[str] = set()
        for name in self.names():
            try:
                self.open(name)
            except ConfigurationError as exc:
                log.error("%s", exc, extra={"action": "service_unusable", "service": name})  # noqa: TRY400 - no bug
            else:
                found.add(name)
        return frozenset(found)

    def open(self, name: str) -> RemoteService:
        """Return the service.

        Raises:
            ConfigurationError: it has no key here, or the key or a library is not there.
        """
        if name not in self._opened:
            self._opened[name] = self._open(name)
        return self._opened[name]

    def close(self) -> None:
        """Close what was opened."""
        for service in self._opened.values():
            service.close()
        self._opened.clear()

    def _open(self, name: str) -> RemoteService:
        if name not in self._keys:
            raise ConfigurationError(f"{name} has no key here.", hint=f"Set {key_setting(name)}.")
        require("httpx", "services")
        plugin: Opener = load(SERVICES, name) if name not in self._profiles else self._open_profile(name)
        settings = self._settings
        return plugin(
            ServiceContext(
                name=name,
                key=read_key(name, self._keys[name]),
                url={"auphonic": settings.auphonic_url, "lalal": settings.lalal_url}.get(name, ""),
                private_hosts=frozenset(host.lower() for host in settings.private_hosts),
                result_hosts=settings.result_hosts,
                prefix=settings.service_prefix,
                takes_urls=settings.service_input != "upload",
            )
        )

    def _has_key(self, name: str) -> bool:
        try:
            read_key(name, self._keys[name])
        except ConfigurationError as exc:
            log.error("%s", exc, extra={"action": "key_unreadable", "service": name})  # noqa: TRY400 - no bug
            return False
        return True

    def _open_profile(self, name: str) -> Opener:
        opener: Callable[[ServiceProfile, ServiceContext], RemoteService] = load("musproj.profile", PROFILE)
        return partial(opener, self._profiles[name])


def key_setting(name: str) -> str:
    """Return which setting has the key of a service, as its user writes it."""
    return f"MUSPROJ_{name.upper()}_KEY" if name in _OWN_SETTINGS else f"MUSPROJ_SERVICE_KEYS={name}=…"


def keys_of(settings: Settings) -> dict[str, str]:
    """Return service → key, of those that have one.

    Raises:
        ConfigurationError: one is not written as `name=key`.
    """
    named = {"auphonic": settings.auphonic_key, "lalal": settings.lalal_key}
    return {name: key for name, key in named.items() if key} | pairs(settings.service_keys, "service_keys")


def read_key(name: str, key: str) -> str:
    """Return the key itself, or what is in the file that it names, which only its owner may read.

    Raises:
        ConfigurationError: the file cannot be read, others can read it, or it holds no key.
    """
    if not key.startswith(FILE):
        return _checked(name, key)
    try:
        path = Path(key.removeprefix(FILE)).expanduser()
        mode, text = path.stat().st_mode, _text_of(path)
    except (OSError, ValueError, RuntimeError) as exc:  # no text, a NUL, a home that is nobody's
        text = f"The key of {name} cannot be read from {printable(key.removeprefix(FILE))}."
        raise ConfigurationError(text, hint="Is it there, and yours?") from exc
    if mode & _OTHERS:
        raise ConfigurationError(f"Others can read the key of {name} in {path}.", hint=f"chmod 600 {path}")
    if not text:
        raise ConfigurationError(f"There is no key of {name} in {path}.")
    return _checked(name, text)


def _text_of(path: Path) -> str:
    """Return what is in a file; a pipe would never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("no file")
    return path.read_text("utf-8").strip()


def _checked(name: str, key: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError(f"The key of {name} holds characters that no key has.")
    return key


def pairs(entries: tuple[str, ...], setting: str) -> dict[str, str]:
    """Return name → value of entries such as `lalal=30`.

    Raises:
        ConfigurationError: one is not written so.
    """
    found: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise ConfigurationError(
                f"MUSPROJ_{setting.upper()} is wrong.", hint="Write it like name=value,name=value.", setting=setting
            )
        found[name.strip()] = value.strip()
    return found


def policy_of(settings: Settings) -> RemotePolicy:
    """Return the numbers that work at services goes by.

    Raises:
        ConfigurationError: a budget is no number.
    """
    return RemotePolicy(
        first_poll_s=settings.remote_poll_s,
        backoff_s=min(1.0, settings.remote_poll_s),
        per_job=_amounts(settings.budget_per_job, "budget_per_job"),
        per_day=_amounts(settings.budget_per_day, "budget_per_day"),
        hook_base=settings.public_url.rstrip("/") or None,
        hook_secret=settings.webhook_secret,
    )


def outside_of(
    settings: Settings, services: Services, storage: OpenedStorage, metadata: OpenedMetadata
) -> Outside | None:
    """Return what a run needs to have its work done elsewhere; None where this installation keeps no accounts."""
    if metadata.accounts is None:
        return None

    def signed_url(key: ObjectKey) -> str | None:
        if storage.signed_urls is None:
            return None
        name = key.rpartition("/")[2]
        url = storage.signed_urls.sign_get(
            key,
            filename=name,
            content_type=media.CONTENT_TYPES.get(media.container_of(None, name) or "", media.OCTET_STREAM),
            expires_in=URL_LIFE,
        ).url
        return url if settings.service_input == "url" or _is_reachable(url) else None

    return Outside(
        services=services,
        accounts=metadata.accounts,
        policy=policy_of(settings),
        signed_url=signed_url,
        url_life=URL_LIFE,
    )


def _amounts(entries: tuple[str, ...], setting: str) -> Mapping[str, float]:
    try:
        amounts = {name: float(value) for name, value in pairs(entries, setting).items()}
    except ValueError as exc:
        raise ConfigurationError(f"MUSPROJ_{setting.upper()} holds no number.", setting=setting) from exc
    if not all(0 <= amount <= MOST_SPENT for amount in amounts.values()):
        text = f"MUSPROJ_{setting.upper()} holds what no budget is: a number from 0 to {MOST_SPENT:.15g}."
        raise ConfigurationError(text, setting=setting)
    return amounts


def _is_reachable(url: str) -> bool:
    """Tell whether an outside service may reach the host of `url`: by https, and by no private address."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" or "." not in host:
        return False
    try:
        return ip_address(host).is_global
    except ValueError:
        return not host.rstrip(".").endswith(_PRIVATE_NAMES)
