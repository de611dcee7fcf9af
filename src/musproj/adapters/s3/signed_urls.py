"""URLs by which a client talks to the bucket itself."""

import math
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.signing import LONGEST_LIFE_S, SHORTEST_LIFE_S, QuerySigner
from musproj.adapters.s3.storage import MAX_PUT_BYTES
from musproj.domain.downloads import disposition, served_type
from musproj.domain.keys import ObjectKey, object_key
from musproj.domain.upload_headers import upload_headers
from musproj.errors import InvalidError, Violation
from musproj.ports.clock import Clock
from musproj.ports.storage import SignedRequest, SignedUrls


class S3SignedUrls(SignedUrls):
    """Signs without asking anybody; on R2 such URLs work on the S3 host alone, not on a custom domain."""

    __slots__ = ("_clock", "_origin", "_signer")

    def __init__(self, address: BucketAddress, signer: QuerySigner, clock: Clock) -> None:
        """Sign for `address`, which `signer` was made for."""
        self._origin = address.origin
        self._signer = signer
        self._clock = clock

    @property
    def needs_size(self) -> bool:
        """True: a store takes whatever comes, unless its length is signed."""
        return True

    @property
    def max_put_bytes(self) -> int:
        """R2's limit, the lowest of all."""
        return MAX_PUT_BYTES

    def sign_put(
        self, key: ObjectKey, *, content_type: str, size: int | None, sha256: str | None, expires_in: timedelta
    ) -> SignedRequest:
        """Return a create-only PUT.

        Raises:
            InvalidError: no size; or the key, the type or the hash breaks its grammar.
        """
        if size is None:
            raise InvalidError(violations=(Violation("/size", "required", "this store needs the size of an upload"),))
        return self.request(
            "PUT", key, upload_headers(content_type=content_type, size=size, sha256=sha256), {}, expires_in
        )

    def sign_get(
        self, key: ObjectKey, *, filename: str, content_type: str, expires_in: timedelta, inline: bool = False
    ) -> SignedRequest:
        """Return a GET; the name is cleaned, and a type that a browser might run becomes plain bytes.

        Raises:
            InvalidError: the key breaks its grammar.
        """
        query = {
            "response-content-disposition": _disposition(filename, inline=inline),
            "response-content-type": served_type(content_type),
        }
        return self.request("GET", key, {}, query, expires_in)

    def request(
        self, method: str, key: ObjectKey, headers: dict[str, str], query: dict[str, str], life: timedelta
    ) -> SignedRequest:
        """Return any request of an object."""
        at = int(self._clock.now().timestamp())
        # Rounded up, as the store knows whole seconds.
        life_s = min(max(math.ceil(life.total_seconds()), SHORTEST_LIFE_S), LONGEST_LIFE_S)
        target = self._signer.target(method, object_key(key), at=at, life_s=life_s, headers=headers, query=query)
        return SignedRequest(
            method=method,
            url=self._origin + target,
            headers=headers,
            expires_at=datetime.fromtimestamp(at + life_s, UTC),
        )


@lru_cache(maxsize=1024)
def _disposition(filename: str, *, inline: bool) -> str:
    return disposition(filename, inline=inline)
