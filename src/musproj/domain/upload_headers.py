"""The headers of a signed upload: part of the API, and the same for every store, so that one client works with all."""

import re
from base64 import b64encode

from musproj.errors import InvalidError, Violation

SHA256_HEADER = "x-amz-checksum-sha256"
"""As S3 has it: the hash in base64."""

_CONTENT_TYPE = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,253}[\x21-\x7e]")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def upload_headers(*, content_type: str, size: int | None, sha256: str | None) -> dict[str, str]:
    """Return what a client must send, each of them exactly, to create an object of this type, size and hash (hex).

    Raises:
        InvalidError: the type or the hash breaks its grammar.
    """
    if _CONTENT_TYPE.fullmatch(content_type) is None:
        raise _invalid("/contentType", "a content type is printable ASCII without spaces around it")
    headers = {"content-type": content_type, "if-none-match": "*"}
    if size is not None:
        headers["content-length"] = str(size)
    if sha256 is not None:
        headers[SHA256_HEADER] = base64_of(sha256)
    return headers


def base64_of(sha256: str) -> str:
    """Return a hash as S3's checksum headers have it.

    Raises:
        InvalidError: it is no lower-case hex sha256.
    """
    if _SHA256.fullmatch(sha256) is None:
        raise _invalid("/sha256", "a sha256 is 64 lower-case hex digits")
    return b64encode(bytes.fromhex(sha256)).decode()


def _invalid(pointer: str, detail: str) -> InvalidError:
    return InvalidError(violations=(Violation(pointer, "pattern", detail),))
