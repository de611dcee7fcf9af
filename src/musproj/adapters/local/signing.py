"""Signed URLs of the embedded store: `<public-url>/_store/<key>?op=…&exp=…&…&kid=…&sig=…`.

The signature is an HMAC-SHA256 over the method, the key and every field, a line each. No value that is signed has a
line end in it, so a text with as many lines as there are fields stands for one request alone. What a field is for:

    op    put, or get (which allows HEAD too)
    exp   Unix milliseconds, the first that is too late
    len   put: exact Content-Length, where one was given
    ct    put: exact Content-Type; get: what the object is served as
    sha   put: sha256 of the bytes in hex, where one was given
    inm   put: 1, If-None-Match: * must be sent
    fn    get: the file name to serve it under
    inl   get: 1, shown in place instead of saved
    kid   which key signed it
"""

import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import quote

from musproj.adapters.local.signing_keys import SigningKeys, key_id, load_or_create_signing_key, rotate_signing_key
from musproj.domain.downloads import clean_name, served_type
from musproj.domain.keys import ObjectKey, object_key
from musproj.domain.upload_headers import upload_headers
from musproj.ports.clock import Clock
from musproj.ports.storage import SignedRequest, SignedUrls

__all__ = ["LocalSigner", "SigningKeys", "load_or_create_signing_key", "rotate_signing_key"]

STORE_PATH = "/_store/"

SHORTEST_LIFE = timedelta(seconds=1)
LONGEST_LIFE = timedelta(days=7)
"""As S3 has it: 1 … 604,800 s."""

_FIELDS = ("op", "exp", "len", "ct", "sha", "inm", "fn", "inl", "kid")
_PURPOSE = "musproj store 1"
_ALLOWED = frozenset({*_FIELDS, "sig"})
_METHODS = {"put": "PUT", "get": "GET"}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class LocalSigner(SignedUrls):
    """Signs what a `LocalGate` with the same keys allows."""

    __slots__ = ("_base", "_clock", "_kid", "_mac", "_macs", "_max_upload_bytes")

    def __init__(self, keys: SigningKeys, public_url: str, clock: Clock, max_upload_bytes: int | None) -> None:
        """Sign for the API that clients reach at `public_url`."""
        self._base = public_url.rstrip("/") + STORE_PATH
        self._clock = clock
        self._max_upload_bytes = max_upload_bytes
        # A copy costs a third of a new one.
        self._macs = {kid: hmac.new(secret, digestmod="sha256") for kid, secret in keys.by_id().items()}
        self._kid = key_id(keys.current)
        self._mac = self._macs[self._kid]

    @property
    def needs_size(self) -> bool:
        """False: the gate counts while it reads."""
        return False

    @property
    def max_put_bytes(self) -> int | None:
        """The policy's limit; the store has none of its own."""
        return self._max_upload_bytes

    def sign_put(
        self, key: ObjectKey, *, content_type: str, size: int | None, sha256: str | None, expires_in: timedelta
    ) -> SignedRequest:
        """Return a create-only PUT; its headers are S3's, so that one client works with both.

        Raises:
            InvalidError: the key, the type or the hash breaks its grammar.
        """
        headers = upload_headers(content_type=content_type, size=size, sha256=sha256)
        query = f"ct={_quoted(content_type)}&inm=1"
        length = checksum = ""
        if size is not None:
            length = headers["content-length"]
            query += f"&len={length}"
        if sha256 is not None:
            checksum = sha256
            query += f"&sha={checksum}"
        values = (length, content_type, checksum, "1", "", "")
        return self._signed("put", key, values, query, headers, expires_in)

    def sign_get(
        self, key: ObjectKey, *, filename: str, content_type: str, expires_in: timedelta, inline: bool = False
    ) -> SignedRequest:
        """Return a GET; the name is cleaned, and a type that a browser might run becomes plain bytes.

        Raises:
            InvalidError: the key breaks its grammar.
        """
        served, name = served_type(content_type), clean_name(filename)
        query = f"ct={_quoted(served)}&fn={_quoted(name)}"
        if inline:
            query += "&inl=1"
        values = ("", served, "", "", name, "1" if inline else "")
        return self._signed("get", key, values, query, {}, expires_in)

    def allows(self, key: str, query: Mapping[str, str]) -> bool:
        """Tell whether `query` was signed for `key`, by either key, field by field; its expiry is not looked at."""
        macs = self._macs.get(query.get("kid", ""))
        # An empty field would count as a missing one, and an unknown one not at all.
        if macs is None or not query.keys() <= _ALLOWED or not all(query.values()):
            return False
        values = [query.get(name, "") for name in _FIELDS]
        expected = _sign(macs, _METHODS.get(query.get("op", ""), ""), key, values)
        return hmac.compare_digest(expected.encode(), query.get("sig", "").encode(errors="replace"))

    def _signed(
        self, op: str, key: ObjectKey, values: Sequence[str], query: str, headers: dict[str, str], life: timedelta
    ) -> SignedRequest:
        expires_at = self._clock.now() + min(max(life, SHORTEST_LIFE), LONGEST_LIFE)
        # Rounded up, so that it never ends before the time that is promised.
        exp = str(-((_EPOCH - expires_at) // _MILLISECOND))
        method = _METHODS[op]
        sig = _sign(self._mac, method, object_key(key), (op, exp, *values, self._kid))
        return SignedRequest(
            method=method,
            url=f"{self._base}{key}?op={op}&exp={exp}&{query}&kid={self._kid}&sig={sig}",
            headers=headers,
            expires_at=expires_at,
        )


def _sign(mac: hmac.HMAC, method: str, key: str, values: Sequence[str]) -> str:
    mac = mac.copy()
    # A lone surrogate cannot come from a signer; it must not stop the comparison either.
    mac.update("\n".join((_PURPOSE, method, key, *values)).encode(errors="surrogatepass"))
    return mac.hexdigest()


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    return quote(text, safe="/")
