"""AWS Signature Version 4 in the query of a URL, for S3 ("Authenticating requests: using query parameters").

S3's own rules: the key is percent-encoded once and its path not normalised; the payload is not part of it
(`UNSIGNED-PAYLOAD`), except where a signed header carries its hash.
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

import attrs

from musproj.adapters.s3.address import BucketAddress
from musproj.ports.plugin import Credentials

SHORTEST_LIFE_S = 1
LONGEST_LIFE_S = 604_800
"""Seven days: R2 docs, presigned URLs; S3 has the same."""

_PATH_SAFE = "/~"
_QUERY_SAFE = "-_.~"
_NOTHING: Mapping[str, str] = {}


@attrs.frozen
class _Moment:
    """What all signatures of one second have in common."""

    at: int
    day: str
    mac: hmac.HMAC
    """By the key that is derived from the secret for this day and region; a copy costs less than a new one."""
    query: str
    head: str
    """The first lines of what is signed."""


class QuerySigner:
    """Signs requests to one bucket; usable from several threads."""

    __slots__ = ("_access_key", "_address", "_moment", "_secret", "_token")

    def __init__(self, address: BucketAddress, credentials: Credentials) -> None:
        """Sign for `address`; nothing is asked of anybody."""
        self._address = address
        self._access_key = credentials.access_key_id
        self._secret = credentials.secret_access_key
        token = credentials.session_token
        self._token = f"&X-Amz-Security-Token={quote(token, safe=_QUERY_SAFE)}" if token else ""
        self._moment = self._begin(0, None)

    def target(
        self,
        method: str,
        key: str | None,
        *,
        at: int,
        life_s: int,
        headers: Mapping[str, str] = _NOTHING,
        query: Mapping[str, str] = _NOTHING,
    ) -> str:
        """Return path and query of a request that may be made from `at` (Unix seconds) on for `life_s`.

        Args:
            method: GET, HEAD, PUT, POST or DELETE.
            key: Of the object; None is the bucket itself.
            at: The time of signing.
            life_s: Cut to what S3 allows.
            headers: To be sent exactly so, beside Host.
            query: Further fields, in lower case as all of S3's are.
        """
        moment = self._moment
        if moment.at != at:
            # Two threads may both do it; either result is right.
            moment = self._moment = self._begin(at, moment)
        layout = _layout(tuple(headers), self._address.host)
        path = self._address.path + ("" if key is None else f"/{quote(key, safe=_PATH_SAFE)}") or "/"
        fields = (
            f"{moment.query}&X-Amz-Expires={min(max(life_s, SHORTEST_LIFE_S), LONGEST_LIFE_S)}{self._token}"
            f"&X-Amz-SignedHeaders={layout.encoded_names}"
        )
        if query:
            # Capitals sort before small letters, so these come last.
            fields += f"&{_encoded(query)}"
        told = layout.lines % tuple([" ".join(headers[name].split()) for name in layout.order])
        canonical = f"{method}\n{path}\n{fields}\n{told}\n{layout.names}\nUNSIGNED-PAYLOAD"
        mac = moment.mac.copy()
        mac.update(f"{moment.head}{hashlib.sha256(canonical.encode()).hexdigest()}".encode())
        return f"{path}?{fields}&X-Amz-Signature={mac.hexdigest()}"

    def _begin(self, at: int, before: _Moment | None) -> _Moment:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        day = stamp[:8]
        scope = f"{day}/{self._address.region}/s3/aws4_request"
        credential = quote(f"{self._access_key}/{scope}", safe=_QUERY_SAFE)
        return _Moment(
            at=at,
            day=day,
            mac=before.mac if before is not None and before.day == day else self._derived(day),
            query=f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={stamp}",
            head=f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n",
        )

    def _derived(self, day: str) -> hmac.HMAC:
        key = f"AWS4{self._secret}".encode()
        for part in (day, self._address.region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.new(key, digestmod="sha256")


@attrs.frozen
class _Layout:
    """What requests with the same headers have in common, whatever their values are."""

    order: tuple[str, ...]
    """The headers by name, as they were given."""
    lines: str
    """Those and Host, a line each, to be filled with the values."""
    names: str
    encoded_names: str


@lru_cache(maxsize=256)
def _layout(given: tuple[str, ...], host: str) -> _Layout:
    lines = sorted(
        [*((name.lower(), f"{name.lower()}:%s\n") for name in given), ("host", f"host:{host.replace('%', '%%')}\n")]
    )
    names = ";".join(name for name, _ in lines)
    return _Layout(
        order=tuple(sorted(given, key=str.lower)),
        lines="".join(line for _, line in lines),
        names=names,
        encoded_names=_quoted(names),
    )


def _encoded(query: Mapping[str, str]) -> str:
    pairs = [f"{_quoted(name)}={_quoted(value)}" for name, value in query.items()]
    # A `=` sorts after digits and `-`, so names that begin alike need the pair, not the text.
    pairs.sort(key=lambda pair: pair.partition("="))
    return "&".join(pairs)


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    return quote(text, safe=_QUERY_SAFE)
