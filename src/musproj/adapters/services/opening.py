"""Accounts at services: keys, addresses and hosts put together."""

from collections.abc import Iterable

import httpx

from musproj.adapters.services import auphonic, lalal
from musproj.adapters.services.client import ApiClient
from musproj.adapters.services.fetch import ResultFetcher
from musproj.adapters.services.guard import AddressGuard, GuardedTransport
from musproj.adapters.services.hosts import where
from musproj.adapters.services.profile import ProfileService
from musproj.application.http_profile import HttpProfile
from musproj.errors import ConfigurationError
from musproj.ports.plugin import ServiceContext


def open_auphonic(context: ServiceContext) -> auphonic.Auphonic:
    """Open the account at Auphonic."""
    headers = {"Authorization": f"Bearer {context.key}"}
    api, fetcher, transport = _clients(context, context.url or auphonic.URL, headers, auphonic.HOSTS, ())
    return auphonic.Auphonic(
        api=api, fetcher=fetcher, transport=transport, prefix=context.prefix, takes_urls=context.takes_urls
    )


def open_lalal(context: ServiceContext) -> lalal.Lalal:
    """Open the license key of LALAL.AI."""
    headers = {"X-License-Key": context.key}
    api, fetcher, transport = _clients(context, context.url or lalal.URL, headers, lalal.HOSTS, lalal.UPGRADED)
    return lalal.Lalal(api=api, fetcher=fetcher, transport=transport, prefix=context.prefix)


def open_profile(profile: HttpProfile, context: ServiceContext) -> ProfileService:
    """Open the service that a profile describes; one without a key is asked without."""
    private = private_for(context, profile.base_url, profile.hosts)
    return ProfileService.of(profile, context.key, transport=GuardedTransport(AddressGuard(private)), private=private)


def private_for(context: ServiceContext, url: str, hosts: Iterable[str] = ()) -> frozenset[str]:
    """Return which private places a service at `url` may lead to: its own port, and `hosts` that it names.

    A public service leads to none, whatever the settings permit others.
    """
    try:
        place = where(httpx.URL(url))
    except httpx.InvalidURL:
        return frozenset()
    if place not in context.private_hosts:
        return frozenset()
    own, named = place.rpartition(":")[2], {host.lower() for host in hosts}
    return frozenset(
        entry for entry in context.private_hosts if entry.rpartition(":")[2] == own or entry.rpartition(":")[0] in named
    )


def _clients(
    context: ServiceContext, url: str, headers: dict[str, str], hosts: tuple[str, ...], upgraded: tuple[str, ...]
) -> tuple[ApiClient, ResultFetcher, GuardedTransport]:
    _refuse_plain(context, url)
    private = private_for(context, url)
    transport = GuardedTransport(AddressGuard(private))
    fetcher = ResultFetcher(transport, (*hosts, *context.result_hosts), url, headers, upgraded, allow_http_for=private)
    return ApiClient(url, headers, transport=transport), fetcher, transport


def _refuse_plain(context: ServiceContext, url: str) -> None:
    """Refuse to send a key over plain http to a host that the settings do not name as private."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as exc:
        raise ConfigurationError(f"The address of {context.name} is none.") from exc
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigurationError(f"The address of {context.name} begins with http:// or https:// and names a host.")
    if parsed.scheme != "https" and where(parsed) not in context.private_hosts:
        raise ConfigurationError(
            f"The address of {context.name}, {parsed.scheme}://{where(parsed)}, is not https.",
            hint=f"A host of your own is allowed by MUSPROJ_PRIVATE_HOSTS={where(parsed)}.",
        )
