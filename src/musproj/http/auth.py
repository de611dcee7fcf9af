"""Who asks: from request to owner, and which hosts this server answers for."""

import hmac
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Scope

from musproj.domain.ids import DEFAULT_OWNER, Owner
from musproj.http.refusals import UnauthenticatedError
from musproj.http.site import Authenticate
from musproj.settings import LOOPBACK, Settings


def by_key(api_key: str) -> Authenticate:
    """Return the check of `Authorization: Bearer <key>`; an empty key lets everybody in."""
    if not api_key:
        return lambda _scope: DEFAULT_OWNER
    expected = api_key.encode()

    def authenticate(scope: Scope) -> Owner:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        # Whatever was sent is compared in full, so that the time says nothing about where it differs.
        is_right = hmac.compare_digest(token.strip(), expected)
        if is_right and scheme.lower() == b"bearer":
            return DEFAULT_OWNER
        raise UnauthenticatedError("Send the API key as: Authorization: Bearer <key>." if not given else None)

    return authenticate


class Hosts:
    """The host names in `Host` that a request may carry.

    Where no key is asked for and only this host can connect, a page of a foreign site could still reach the API
    through the user's browser by letting its own name point to 127.0.0.1; that name is then in `Host`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        names = [name.lower().rstrip(".") for name in names]
        self._exact = frozenset(name for name in names if not name.startswith("*."))
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))
        self._allows = lru_cache(maxsize=64)(self._look_up)

    @classmethod
    def of(cls, settings: Settings) -> "Hosts | None":
        """Return what the settings allow; None: any host."""
        is_open = settings.is_loopback and not settings.api_key
        if not settings.allowed_hosts and not is_open:
            return None
        public = urlsplit(settings.public_url).hostname if settings.public_url else None
        return cls([*settings.allowed_hosts, *LOOPBACK, *filter(None, [public])])

    def allow(self, scope: Scope) -> bool:
        """Tell whether every `Host` header names an allowed host; none at all is one too few."""
        given = [value for name, value in scope["headers"] if name == b"host"]
        return bool(given) and all(map(self._allows, given))

    def _look_up(self, host: bytes) -> bool:
        name = host.decode("latin-1").lower()
        name = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
        name = name.rstrip(".")
        return name in self._exact or name.endswith(self._suffixes)
