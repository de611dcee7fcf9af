"""Connections that cannot be led to a private address: the name is resolved once, and what was checked is dialled.

httpx has no public place for a network backend (`HTTPTransport._pool` is private), so `GuardedTransport` wraps an
httpcore pool itself.
"""

import contextlib
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final, cast

import attrs
import httpcore
import httpx

from musproj.adapters.services.deadline import DEADLINE, TimedStream, set_deadline
from musproj.errors import RemoteHostRefusedError

Resolver = Callable[[str, int], list[str]]
"""Gives the addresses of a host and port, as text; raises OSError where there are none."""

FRESH_CONNECTION: Final = "musproj_fresh_connection"
"""Request extension: true asks `GuardedTransport` for a connection that carried no request before."""

_LOOKUP_S: Final = 3.0  # getaddrinfo itself knows no limit
_ADDRESSES_TRIED: Final = 4  # a name may have many; they share one connect timeout

# Python calls some of these global, and which ones changes between its patch releases: hence an own list.
_REFUSED_V4: Final = tuple(
    IPv4Network(block)
    for block in (
        "192.0.0.0/24",  # IETF protocol assignments, RFC 6890; one cloud serves metadata at 192.0.0.192
        "192.88.99.0/24",  # 6to4 relays, deprecated by RFC 7526
        "168.63.129.16/32",  # Azure's host agent, a public number that answers inside only
    )
)
_REFUSED_V6: Final = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # IETF protocol assignments, RFC 2928, with Teredo (RFC 4380), which hides its IPv4 address
        "2001:db8::/32",  # documentation, RFC 3849
        "3fff::/20",  # documentation, RFC 9637
    )
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # RFC 4291; all other IPv6 is local, reserved or a translation
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052; the local-use 64:ff9b:1::/48 of RFC 8215 stays refused


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the public internet; text that is no address is not."""
    try:
        ip = ip_address(address.partition("%")[0])  # the zone names an interface of this host
    except ValueError:
        return False
    return _is_public_v4(ip) if isinstance(ip, IPv4Address) else _is_public_v6(ip)


def _is_public_v4(ip: IPv4Address) -> bool:
    if ip.is_multicast or ip.is_reserved or ip.is_unspecified or not ip.is_global:
        return False
    return not any(ip in block for block in _REFUSED_V4)


def _is_public_v6(ip: IPv6Address) -> bool:
    inner = _embedded(ip)
    if inner is not None:
        return _is_public_v4(inner)
    if ip.is_multicast or not ip.is_global or ip not in _GLOBAL_UNICAST:
        return False
    return not any(ip in block for block in _REFUSED_V6)


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """Give the IPv4 address that a packet to `ip` ends at."""
    if ip in _NAT64:
        return IPv4Address(ip.packed[-4:])
    return ip.ipv4_mapped or ip.sixtofour


def host_port(host: str, port: int) -> str:
    """Write host and port as a setting does: `127.0.0.1:8099`, `[::1]:8099`."""
    name = host.lower()
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def resolve(host: str, port: int) -> list[str]:
    """Ask the system's resolver, for three seconds at most."""
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            answers.put(exc)
        else:
            answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))

    # getaddrinfo cannot be interrupted: the thread is left behind, and ends when the system's own limit does.
    threading.Thread(target=ask, name="musproj-resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=_LOOKUP_S)
    except queue.Empty:
        raise TimeoutError(f"no answer from the resolver within {_LOOKUP_S:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


@attrs.frozen
class AddressGuard:
    """Decides which addresses a host name may lead to."""

    allowed: frozenset[str] = frozenset()
    """Exact `host:port` entries that may be private, such as `127.0.0.1:8099`: self-hosted services and fakes."""

    def check(self, host: str, port: int, addresses: list[str]) -> None:
        """Refuse the host if any of its addresses is not public.

        Raises:
            RemoteHostRefusedError: one is not public, and `host:port` is not allowed.
        """
        where = host_port(host, port)
        if where in self.allowed:
            return
        refused = [address for address in addresses if not is_public(address)]
        if refused:
            raise RemoteHostRefusedError(
                f"{where} leads to {refused[0]}, which is no public address; a service of your own network is "
                f"permitted by its exact host:port",
                host=host,
                port=port,
            )


class GuardedBackend(httpcore.NetworkBackend):
    """Resolves a name once, checks every address, and dials only what it checked: rebinding finds no second look-up."""

    def __init__(
        self,
        guard: AddressGuard,
        *,
        resolver: Resolver = resolve,
        network: httpcore.NetworkBackend | None = None,
    ) -> None:
        """Dial through `network`, which gets addresses only, never names."""
        self._guard = guard
        self._resolver = resolver
        self._network = network or httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a checked address of `host`; TLS still verifies the name, which httpcore hands it itself.

        Raises:
            RemoteHostRefusedError: an address of the host is not public.
            httpcore.ConnectError: the name has no address, or none of them answers.
            httpcore.ConnectTimeout: the resolver or the host took too long.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        addresses = self._resolved(host, port)
        self._guard.check(host, port, addresses)
        chosen = addresses[:_ADDRESSES_TRIED]
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for number, address in enumerate(chosen):
            share = None if deadline is None else max(0.001, deadline - time.monotonic()) / (len(chosen) - number)
            try:
                return TimedStream(self._network.connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        raise failure

    def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 -- httpcore's signature, here and below
        timeout: float | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """Refuse: no service listens there.

        Raises:
            RemoteHostRefusedError: always.
        """
        raise RemoteHostRefusedError("a Unix socket is no place of an outside service")

    def _resolved(self, host: str, port: int) -> list[str]:
        try:
            return self._resolver(host, port)
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout(str(exc)) from exc
        except OSError as exc:
            raise httpcore.ConnectError(str(exc)) from exc
        except UnicodeError as exc:
            raise RemoteHostRefusedError(f"{host!r} cannot be a host name", host=host, port=port) from exc


class GuardedTransport(httpx.BaseTransport):
    """An httpx transport whose connections all pass an `AddressGuard`; usable from several threads at once."""

    def __init__(
        self,
        guard: AddressGuard,
        *,
        resolver: Resolver = resolve,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 10,
        max_keepalive_connections: int = 5,
        keepalive_expiry_s: float = 5.0,
    ) -> None:
        """Make two pools, the second of which keeps no connection; nothing connects yet.

        Without `ssl_context` the certificates of certifi count, whatever the environment says.
        """
        context = ssl_context or httpx.create_ssl_context(trust_env=False)
        backend = GuardedBackend(guard, resolver=resolver)
        self._kept = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=max_connections,
            max_keepalive_connections=max_keepalive_connections,
            keepalive_expiry=keepalive_expiry_s,
            network_backend=backend,
        )
        self._fresh = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=max_connections,
            max_keepalive_connections=0,
            network_backend=backend,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; a server that closed an idle connection cannot spoil one that asks for a fresh one.

        Raises:
            RemoteHostRefusedError: the host leads to an address that is not public; no byte was sent.
            httpx.TransportError: as of `httpx.HTTPTransport`.
        """
        assert isinstance(request.stream, httpx.SyncByteStream)
        extensions: dict[str, Any] = dict(request.extensions)
        pool = self._fresh if extensions.pop(FRESH_CONNECTION, False) else self._kept
        set_deadline(extensions.pop(DEADLINE, None))
        sent = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=extensions,
        )
        with _httpx_errors():
            answer = pool.handle_request(sent)
        assert isinstance(answer.stream, Iterable)
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_AnswerStream(answer.stream),
            extensions=cast("dict[str, Any]", answer.extensions),
        )

    def close(self) -> None:
        """Close all connections."""
        self._kept.close()
        self._fresh.close()


class _AnswerStream(httpx.SyncByteStream):
    """The body of an answer; what goes wrong while it is read is translated too."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        with _httpx_errors():
            yield from self._parts

    def close(self) -> None:
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()


# The most specific first; as httpx/_transports/default.py of 0.28 maps them.
_HTTPX_ERRORS: Final[tuple[tuple[type[Exception], type[httpx.TransportError]], ...]] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.TimeoutException, httpx.TimeoutException),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.NetworkError, httpx.NetworkError),
    (httpcore.ProxyError, httpx.ProxyError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.ProtocolError, httpx.ProtocolError),
)


@contextlib.contextmanager
def _httpx_errors() -> Generator[None]:
    try:
        yield
    except Exception as exc:
        for theirs, ours in _HTTPX_ERRORS:
            if isinstance(exc, theirs):
                raise ours(str(exc)) from exc
        raise
