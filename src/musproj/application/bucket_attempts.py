"""What a client must not be able to do with a signed upload, one by one."""

import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256

import attrs

from musproj.application.bucket_requests import HttpRequest
from musproj.ports.findings import Status
from musproj.ports.storage import SignedRequest

REFUSED = (400, 401, 403, 405, 411, 501)
"""How stores refuse; which it is depends on whether they know the method or the header at all."""

_SIGNATURE = re.compile(r"([?&](?:x-amz-)?sig(?:nature)?=)(.)", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class Attempt:
    """One misuse of a signed PUT."""

    name: str
    change: Callable[[SignedRequest, bytes], HttpRequest]
    """Makes the misuse of a signed request and the content that it was signed for."""
    status: Status
    """What it means where the store accepts it."""
    fix: str


def _another_length(signed: SignedRequest, content: bytes) -> HttpRequest:
    longer = content + b"1"
    request = HttpRequest.of(signed, longer)
    return attrs.evolve(request, headers={**request.headers, "content-length": str(len(longer))})


def _other_bytes(signed: SignedRequest, content: bytes) -> HttpRequest:
    return HttpRequest.of(signed, content[::-1])


def _another_hash(signed: SignedRequest, content: bytes) -> HttpRequest:
    other = content[::-1]
    request = HttpRequest.of(signed, other)
    header = b64encode(sha256(other).digest()).decode()
    return attrs.evolve(request, headers={**request.headers, "x-amz-checksum-sha256": header})


def _another_type(signed: SignedRequest, content: bytes) -> HttpRequest:
    request = HttpRequest.of(signed, content)
    return attrs.evolve(request, headers={**request.headers, "content-type": "text/html"})


def _no_condition(signed: SignedRequest, content: bytes) -> HttpRequest:
    request = HttpRequest.of(signed, content)
    kept = {name: value for name, value in request.headers.items() if name != "if-none-match"}
    return attrs.evolve(request, headers=kept)


def _altered_signature(signed: SignedRequest, content: bytes) -> HttpRequest:
    request = HttpRequest.of(signed, content)
    url = _SIGNATURE.sub(lambda found: found[1] + ("1" if found[2] == "0" else "0"), request.url)
    return attrs.evolve(request, url=url)


def _wrong_method(signed: SignedRequest, content: bytes) -> HttpRequest:  # noqa: ARG001 - as the others are called
    return HttpRequest(method="DELETE", url=signed.url)


_NO_PROTECTION = "Use a store that verifies signatures: this one lets anybody in, whatever the URL says."
_UNSIGNED = "Use a store that verifies the signed headers: on this one a client may upload something else than it said."

ATTEMPTS: tuple[Attempt, ...] = (
    Attempt(name="signed put other length", change=_another_length, status="problem", fix=_UNSIGNED),
    Attempt(
        name="signed put other bytes",
        change=_other_bytes,
        status="warning",
        fix="The store does not verify x-amz-checksum-sha256; each confirm then reads the whole file to do so.",
    ),
    Attempt(name="signed put other sha256", change=_another_hash, status="problem", fix=_UNSIGNED),
    Attempt(name="signed put other type", change=_another_type, status="problem", fix=_UNSIGNED),
    Attempt(name="signed put without condition", change=_no_condition, status="problem", fix=_UNSIGNED),
    Attempt(name="signed put altered signature", change=_altered_signature, status="problem", fix=_NO_PROTECTION),
    Attempt(name="signed put wrong method", change=_wrong_method, status="problem", fix=_NO_PROTECTION),
)
