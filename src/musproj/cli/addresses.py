"""Where the API listens, and under which URL others reach it."""

import socket

import attrs

from musproj.errors import ConfigurationError
from musproj.settings import Settings

WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound
FAR_AWAY = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}
"""Documentation addresses (RFC 5737, RFC 3849): asked for a route, never sent anything."""


def refuse_open_door(settings: Settings) -> None:
    """Do nothing where only those may come in who should.

    Raises:
        ConfigurationError: other hosts could reach the API without a key.
    """
    if not settings.is_loopback and not settings.api_key:
        raise ConfigurationError(
            f"Binding {settings.host} would open the API to everybody.",
            hint="Set MUSPROJ_API_KEY, or bind 127.0.0.1.",
        )


def reachable(settings: Settings, port: int) -> Settings:
    """Return the settings with the real port, and with a public URL that others can reach.

    Raises:
        ConfigurationError: every address is bound, and which of them others reach cannot be told.
    """
    settings = attrs.evolve(settings, port=port)
    if settings.public_url or settings.host not in WILDCARDS:
        return settings
    address = _outgoing_address(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    if address is None:
        raise ConfigurationError(
            f"{settings.host} is every address of this host, but none that others could reach was found.",
            hint="Set MUSPROJ_PUBLIC_URL: signed URLs begin with it.",
        )
    return attrs.evolve(settings, public_url=attrs.evolve(settings, host=address).base_url)


def _outgoing_address(family: socket.AddressFamily) -> str | None:
    """Return this host's address on the way to others; connecting a datagram socket sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(FAR_AWAY[family])
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return address
