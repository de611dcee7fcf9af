"""The embedded store's own door: what a signed URL allows, answered in S3's words."""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from musproj.adapters.local.signing import LocalSigner
from musproj.adapters.local.storage import LocalStorage
from musproj.adapters.local.storage_writer import ObjectWriter
from musproj.domain.downloads import disposition
from musproj.domain.keys import ObjectKey
from musproj.domain.upload_headers import base64_of
from musproj.errors import InvalidError, ObjectExistsError, ObjectMissingError, StorageFullError, UnavailableError
from musproj.ports.clock import Clock
from musproj.ports.gate import GateRefusedError, GetGrant, PutSession, StoreGate
from musproj.ports.storage import StoredObject

_LENGTH = re.compile(r"[0-9]{1,18}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LocalGate(StoreGate):
    """Allows what its signer signed; the order of the checks is S3's: signature, time, headers, then the object."""

    __slots__ = ("_clock", "_limit", "_signer", "_storage")

    def __init__(
        self, storage: LocalStorage, signer: LocalSigner, clock: Clock, max_upload_bytes: int | None = None
    ) -> None:
        """Take uploads of at most `max_upload_bytes`, whatever was signed."""
        self._storage = storage
        self._signer = signer
        self._clock = clock
        self._limit = max_upload_bytes

    def open_put(self, key: str, query: Mapping[str, str], headers: Mapping[str, str]) -> PutSession:
        """Look at everything that can be known before the first byte."""
        self._check_signed(key, query, "put")
        size = _length(headers)
        _check_headers(query, headers, size)
        if self._limit is not None and size > self._limit:
            raise GateRefusedError(413, "EntityTooLarge", f"An upload may have at most {self._limit} bytes.")
        with _refusals():
            writer = self._storage.writer(key, expected=size)
        return LocalPutSession(writer, size=size, sha256=query.get("sha"), content_type=query["ct"])

    def open_get(self, method: str, key: str, query: Mapping[str, str]) -> GetGrant:
        """Find the object, and the headers that its URL was signed with."""
        if method not in ("GET", "HEAD"):
            raise _signature_differs()
        self._check_signed(key, query, "get")
        with _refusals():
            path, stored = self._storage.path(ObjectKey(key)), self._storage.stat(ObjectKey(key))
        named = disposition(query["fn"], inline=query.get("inl") == "1")
        return GetGrant(path=path, stored=stored, headers={"content-type": query["ct"], "content-disposition": named})

    def _check_signed(self, key: str, query: Mapping[str, str], op: str) -> None:
        if not self._signer.allows(key, query) or query["op"] != op:
            raise _signature_differs()
        if self._clock.now() >= _EPOCH + timedelta(milliseconds=int(query["exp"])):
            raise GateRefusedError(403, "AccessDenied", "Request has expired")


class LocalPutSession(PutSession):
    """An upload under way; whatever fails, nothing is kept."""

    __slots__ = ("_content_type", "_sha256", "_size", "_writer")

    def __init__(self, writer: ObjectWriter, *, size: int, sha256: str | None, content_type: str) -> None:
        self._writer = writer
        self._size = size
        self._sha256 = sha256
        self._content_type = content_type

    def write(self, block: bytes) -> None:
        """Take the next bytes, of which there are as many as were announced."""
        if self._writer.size_bytes + len(block) > self._size:
            self.abort()
            raise GateRefusedError(413, "EntityTooLarge", "The body is longer than its Content-Length.")
        with _refusals():
            self._writer.write(block)

    def commit(self) -> StoredObject:
        """Compare length and hash, then publish."""
        with self._writer, _refusals():
            if self._writer.size_bytes != self._size:
                raise GateRefusedError(
                    400,
                    "IncompleteBody",
                    "You did not provide the number of bytes specified by the Content-Length HTTP header",
                )
            if self._sha256 is not None and self._writer.sha256 != self._sha256:
                raise GateRefusedError(400, "BadDigest", "The SHA256 you specified did not match what we received.")
            return self._writer.publish(content_type=self._content_type)

    def abort(self) -> None:
        """Drop what was written."""
        self._writer.discard()


@contextmanager
def _refusals() -> Generator[None, None, None]:
    """Tell the store's errors in S3's words."""
    try:
        yield
    except ObjectExistsError as exc:
        raise GateRefusedError(
            412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"
        ) from exc
    except ObjectMissingError as exc:
        raise GateRefusedError(404, "NoSuchKey", "The specified key does not exist.") from exc
    except InvalidError as exc:
        raise GateRefusedError(400, "InvalidURI", exc.message) from exc
    except StorageFullError as exc:
        raise GateRefusedError(507, "InsufficientStorage", exc.message) from exc
    except UnavailableError as exc:
        raise GateRefusedError(503, "ServiceUnavailable", exc.message) from exc


def _length(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length")
    if text is None or "transfer-encoding" in headers:
        raise GateRefusedError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    if _LENGTH.fullmatch(text) is None:
        raise GateRefusedError(400, "InvalidArgument", "Content-Length is no number of bytes.")
    return int(text)


def _check_headers(query: Mapping[str, str], headers: Mapping[str, str], size: int) -> None:
    """Compare every header that was signed, and refuse the store's own ones that were not."""
    signed = {"content-type": query["ct"], "if-none-match": "*"}
    if "sha" in query:
        signed["x-amz-checksum-sha256"] = base64_of(query["sha"])
    if any(headers.get(name) != value for name, value in signed.items()):
        raise _signature_differs()
    if "len" in query and int(query["len"]) != size:
        raise _signature_differs()
    if any(name.startswith("x-amz-") and name not in signed for name in headers):
        raise GateRefusedError(403, "AccessDenied", "There were headers present in the request which were not signed")


def _signature_differs() -> GateRefusedError:
    return GateRefusedError(
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided."
        " Send exactly the method, URL and headers that were signed.",
    )
