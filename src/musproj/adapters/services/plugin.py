"""The services behind their names: keys, addresses and hosts put together."""

import stat
from pathlib import Path

import attrs
import httpx

from musproj.adapters.services import auphonic, lalal
from musproj.adapters.services.client import ApiClient
from musproj.adapters.services.fetch import ResultFetcher
from musproj.adapters.services.guard import AddressGuard, GuardedTransport
from musproj.adapters.services.profile import ProfileService
from musproj.application.http_profile import HttpProfile
from musproj.errors import ConfigurationError
from musproj.ports.plugin import ServiceContext

_FILE = "file:"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def open_auphonic(context: ServiceContext) -> auphonic.Auphonic:
    """Open the account at Auphonic."""
    headers = {"Authorization": f"Bearer {read_key(context)}"}
    api, fetcher = _clients(context, context.url or auphonic.URL, headers, auphonic.HOSTS, ())
    return auphonic.Auphonic(api=api, fetcher=fetcher, prefix=context.prefix, takes_urls=context.takes_urls)


def open_lalal(context: ServiceContext) -> lalal.Lalal:
    """Open the license key of LALAL.AI."""
    headers = {"X-License-Key": read_key(context)}
    api, fetcher = _clients(context, context.url or lalal.URL, headers, lalal.HOSTS, lalal.UPGRADED)
    return lalal.Lalal(api=api, fetcher=fetcher, prefix=context.prefix)


def open_profile(profile: HttpProfile, context: ServiceContext) -> ProfileService:
    """Open the service that a profile describes; one without a key is asked without."""
    key = context.key or (f"{_FILE}{profile.key.file}" if profile.key.file else "")
    read = read_key(attrs.evolve(context, key=key)) if key else ""
    return ProfileService(profile, read, transport=transport_of(context), private=context.private_hosts)


def read_key(context: ServiceContext) -> str:
    """Return the key itself, or what is in the file that it names, which only its owner may read.

    Raises:
        ConfigurationError: the file cannot be read, or others can read it.
    """
    if not context.key.startswith(_FILE):
        return _header_safe(context.key, context.name)
    path = Path(context.key.removeprefix(_FILE)).expanduser()
    try:
        mode, text = path.stat().st_mode, path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"The key of {context.name} cannot be read from {path}.") from exc
    if mode & _OTHERS:
        raise ConfigurationError(f"Others can read the key of {context.name} in {path}.", hint=f"chmod 600 {path}")
    return _header_safe(text.strip(), context.name)


def transport_of(context: ServiceContext) -> GuardedTransport:
    """Return a transport that reaches public addresses, and the private ones that the settings name."""
    return GuardedTransport(AddressGuard(context.private_hosts))


def _clients(
    context: ServiceContext, url: str, headers: dict[str, str], hosts: tuple[str, ...], upgraded: tuple[str, ...]
) -> tuple[ApiClient, ResultFetcher]:
    _refuse_plain(context, url)
    transport = transport_of(context)
    fetcher = ResultFetcher(
        transport, (*hosts, *context.result_hosts), url, headers, upgraded, allow_http_for=context.private_hosts
    )
    return ApiClient(url, headers, transport=transport), fetcher


def _refuse_plain(context: ServiceContext, url: str) -> None:
    """Refuse to send a key over plain http to a host that the settings do not name as private."""
    parsed = httpx.URL(url)
    place = f"{parsed.host}:{parsed.port or 80}"
    if parsed.scheme != "https" and place not in context.private_hosts:
        raise ConfigurationError(
            f"The address of {context.name}, {parsed.scheme}://{place}, is not https.",
            hint=f"A host of your own is allowed by MUSPROJ_PRIVATE_HOSTS={place}.",
        )


def _header_safe(key: str, name: str) -> str:
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError(f"The key of {name} is empty, or holds characters that no key has.")
    return key
