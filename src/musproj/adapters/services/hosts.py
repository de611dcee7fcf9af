"""Which URLs of results are fetched at all: the hosts of a service, https, and the ports that settings name."""

from typing import Final

import attrs
import httpx

from musproj.adapters.services.failures import scrub
from musproj.adapters.services.guard import host_port
from musproj.errors import RemoteHostRefusedError

_PORTS: Final = {"http": 80, "https": 443}


def encoded_host(name: str) -> str:
    """Give a host name as it goes over the wire: lower case, IDNA A-labels."""
    return httpx.URL(scheme="https", host=name).raw_host.decode("ascii").lower()


def where(url: httpx.URL) -> str:
    """Give `host:port` of a URL, the scheme's own port included."""
    return host_port(url.raw_host.decode("ascii"), url.port or _PORTS.get(url.scheme, 0))


def _rule(text: str) -> str:
    """Encode one rule: `lalal.ai` as it is, `*.lalal.ai` as `.lalal.ai`, whose dot keeps `evil-lalal.ai` out."""
    return f".{encoded_host(text[2:])}" if text.startswith("*.") else encoded_host(text)


def _rules(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_rule(text) for text in texts)


@attrs.frozen
class HostRules:
    """The hosts that a service's results come from."""

    hosts: tuple[str, ...] = attrs.field(converter=_rules)
    """Exact names, and `*.` with a suffix, which stands for one or more labels."""
    upgrade_hosts: tuple[str, ...] = attrs.field(default=(), converter=_rules)
    """Whose `http:` URLs are fetched by https."""
    exact: frozenset[str] = frozenset()
    """`host:port` entries that are permitted as they are, with http and on their port."""

    def checked(self, text: str, base: httpx.URL | None = None) -> httpx.URL:
        """Parse a URL, relative to `base` if there is one, and give it as it may be fetched.

        Raises:
            RemoteHostRefusedError: host, scheme, port or form is none of this service's.
        """
        try:
            return self._checked(_parsed(text, base))
        except UnicodeError as exc:
            raise RemoteHostRefusedError("a URL of the service names a host that none can have") from exc

    def _checked(self, url: httpx.URL) -> httpx.URL:
        if url.userinfo:
            raise _refusal("has a user name in it", url)
        if url.scheme in _PORTS and where(url) in self.exact:
            return url
        host = url.raw_host.decode("ascii").lower()
        if url.scheme == "http" and url.port is None and _matches(host, self.upgrade_hosts):
            url = url.copy_with(scheme="https")
        if url.scheme != "https":
            raise _refusal("is not https", url)
        if url.port not in {None, 443}:
            raise _refusal("is not on port 443", url)
        if not _matches(host, self.hosts):
            raise _refusal("is no host of this service; a setting can add it", url)
        return url


def _parsed(text: str, base: httpx.URL | None) -> httpx.URL:
    # A backslash is a slash for some parsers and a letter of the host for others: no service needs one.
    if "\\" in text or not text.isprintable():
        raise RemoteHostRefusedError("a URL of the service holds characters that none may have")
    try:
        url = httpx.URL(text.strip().replace(" ", "%20"))  # LALAL.AI leaves the spaces of file names in
        if base is not None and (url.host or not url.scheme):  # "https:x" would be taken for a relative one
            return base.join(url)
    except (httpx.InvalidURL, ValueError) as exc:  # ValueError: join asks urllib too, which is stricter
        raise RemoteHostRefusedError("the service gave something that is no URL") from exc
    return url


def _matches(host: str, rules: tuple[str, ...]) -> bool:
    return any(_suffix_of(rule, host) if rule.startswith(".") else host == rule for rule in rules)


def _suffix_of(suffix: str, host: str) -> bool:
    return host.endswith(suffix) and len(host) > len(suffix)


def _refusal(why: str, url: httpx.URL) -> RemoteHostRefusedError:
    place = scrub(f"{url.scheme}://{where(url)}")
    return RemoteHostRefusedError(f"{place} {why}; nothing was fetched", host=url.host, port=url.port)
