"""A client's part of the upload flow: send and fetch bytes by signed requests.

Where this installation serves its signed URLs itself, they go through the same gate as the API's, which checks
signature, headers and expiry; no server needs to run for it.
"""

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from musproj.domain.keys import ObjectKey
from musproj.ports.gate import StoreGate
from musproj.ports.storage import BLOCK_BYTES, SignedRequest

TIMEOUT = 60.0


def send(gate: StoreGate | None, signed: SignedRequest, key: ObjectKey, path: Path) -> None:
    """Put a file with exactly the signed headers."""
    with path.open("rb") as source:
        if gate is None:
            request = urllib.request.Request(signed.url, source, dict(signed.headers), method=signed.method)  # noqa: S310 - made by our own store
            urllib.request.urlopen(request, timeout=TIMEOUT).close()  # noqa: S310 - as above
            return
        headers = {name.lower(): value for name, value in signed.headers.items()}
        session = gate.open_put(key, _query(signed), {"content-length": str(path.stat().st_size), **headers})
        try:
            while block := source.read(BLOCK_BYTES):
                session.write(block)
            session.commit()
        finally:
            session.abort()


def fetch(gate: StoreGate | None, signed: SignedRequest, key: ObjectKey) -> Iterator[bytes]:
    """Yield the bytes of a signed download."""
    if gate is None:
        source = urllib.request.urlopen(signed.url, timeout=TIMEOUT)  # noqa: S310 - made by our own store
    else:
        source = gate.open_get(signed.method, key, _query(signed)).path.open("rb")
    with source:
        while block := source.read(BLOCK_BYTES):
            yield block


def _query(signed: SignedRequest) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(signed.url).query, keep_blank_values=True))
