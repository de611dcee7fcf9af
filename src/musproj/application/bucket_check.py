"""Tries a bucket from end to end: whether it does what uploads and jobs rely on, and refuses what they rely on too.

All is done below `doctor/<random>/`, which is empty again at the end.
"""

import hashlib
import io
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import attrs

from musproj.application.bucket_attempts import ATTEMPTS, REFUSED, Attempt
from musproj.application.bucket_requests import Fetch, HttpReply, HttpRequest, skew_of
from musproj.domain.keys import ObjectKey, object_key
from musproj.errors import MusProjError, ObjectChangedError, ObjectExistsError, ObjectMissingError
from musproj.ports.clock import Clock
from musproj.ports.findings import Finding
from musproj.ports.storage import MultipartUploads, SignedRequest, SignedUrls, Storage

CONTENT = bytes(range(256)) * 4
TYPE = "audio/wav"
LIFE = timedelta(minutes=5)
SHORT_LIFE = timedelta(seconds=1)
MOST_SKEW = timedelta(seconds=5)
"""Beyond it URLs of a short life fail at one end; S3 refuses at 15 min."""
LONGEST_WAIT = timedelta(seconds=10)
"""For a URL to expire by the clock of the store."""

_CREATE_ONLY_FIX = (
    "Use a store with conditional writes (If-None-Match on PUT), such as R2 or S3: on this one, whoever holds an "
    "upload's URL can replace the file until it expires."
)


@attrs.define(kw_only=True, eq=False)
class BucketCheck:
    """One examination of one bucket."""

    storage: Storage
    signed_urls: SignedUrls | None
    multipart: MultipartUploads | None
    clock: Clock
    fetch: Fetch
    origins: tuple[str, ...] = ()
    """Of browsers that are to talk to the bucket."""
    sleep: Callable[[float], None] = time.sleep
    _prefix: str = attrs.field(factory=lambda: f"doctor/{secrets.token_hex(8)}/", init=False)
    _skew: timedelta | None = attrs.field(default=None, init=False)

    def examine(self) -> Iterator[Finding]:
        """Yield what each step finds; what a step left in the bucket is removed at the end."""
        try:
            yield from _guarded("bucket", self._objects)
            if (urls := self.signed_urls) is not None:
                yield from _guarded("signed urls", lambda: self._signed(urls))
            if (parts := self.multipart) is not None:
                yield from _guarded("bucket parts", lambda: self._parts(parts))
        finally:
            yield from _guarded("bucket delete", self._clean)

    # ── by the program's own keys ──

    def _objects(self) -> Iterator[Finding]:
        key, begun = self._key("object"), time.monotonic()
        self._put(key)
        yield Finding("bucket put", "ok", f"{1000 * (time.monotonic() - begun):.0f} ms")
        yield self._second_put(key)
        yield self._read(key)
        listed = [stored.key for stored in self.storage.list(self._prefix)]
        is_listed = listed == [key]
        yield Finding(
            "bucket list",
            "ok" if is_listed else "problem",
            "what was put is listed" if is_listed else f"what was put is not listed: {len(listed)} objects are",
            None if is_listed else "Use a store whose lists are consistent after a write.",
        )

    def _put(self, key: ObjectKey) -> None:
        self.storage.put(
            key, io.BytesIO(CONTENT), size=len(CONTENT), content_type=TYPE, sha256=_sha256(CONTENT), metadata={}
        )

    def _second_put(self, key: ObjectKey) -> Finding:
        try:
            self._put(key)
        except ObjectExistsError:
            return Finding("bucket create-only", "ok", "an object is never replaced")
        return Finding("bucket create-only", "problem", "a second put replaced the object", _CREATE_ONLY_FIX)

    def _read(self, key: ObjectKey) -> Finding:
        part = b"".join(self.storage.read(key, start=100, length=50))
        if part != CONTENT[100:150]:
            return Finding("bucket range", "problem", "a range of an object is not what was put", _RANGE_FIX)
        try:
            for _ in self.storage.read(key, etag="0" * 32):
                pass
        except ObjectChangedError:
            return Finding("bucket range", "ok", "ranges are right, and another version of an object is told apart")
        fix = "Use a store that heeds If-Match: on this one a file that was changed is not noticed."
        return Finding("bucket range", "problem", "an object is read whatever its entity tag should be", fix)

    def _parts(self, parts: MultipartUploads) -> Iterator[Finding]:
        key = self._key("parts")
        upload = parts.start(key, content_type=TYPE)
        try:
            found = len(parts.parts(key, upload))
        finally:
            parts.abort(key, upload)
        yield Finding("bucket parts", "ok", f"uploads in parts are begun, listed ({found}) and aborted")

    def _clean(self) -> Iterator[Finding]:
        keys = [stored.key for stored in self.storage.list(self._prefix)]
        for key in keys:
            self.storage.delete(key)
        left = [key for key in keys if self._is_there(key)]
        fix = f"Give the token the right to delete, and remove what is below {self._prefix}."
        yield Finding(
            "bucket delete",
            "problem" if left else "ok",
            f"{len(left)} objects are still there" if left else f"{len(keys)} objects of this check are gone again",
            fix if left else None,
        )

    def _is_there(self, key: ObjectKey) -> bool:
        with suppress(ObjectMissingError):
            self.storage.stat(key)
            return True
        return False

    # ── by signed URLs, as clients do ──

    def _signed(self, urls: SignedUrls) -> Iterator[Finding]:
        short = self._sign(urls, "expired", life=SHORT_LIFE)
        key = self._key("upload")
        signed = self._sign(urls, "upload")
        reply = self.fetch(HttpRequest.of(signed, CONTENT))
        if reply.status != 200:
            yield Finding("signed put", "problem", f"answered {reply.told}", _SIGNED_FIX)
            return
        yield Finding("signed put", "ok", "with exactly the signed headers")
        yield self._clock(reply)
        yield self._download(urls, key)
        again = self.fetch(HttpRequest.of(signed, CONTENT[::-1]))
        is_refused = again.status == 412
        detail = f"answered {again.told}" if is_refused else f"a second put was answered {again.told}, not 412"
        yield Finding(
            "signed put again", "ok" if is_refused else "problem", detail, None if is_refused else _CREATE_ONLY_FIX
        )
        for attempt in ATTEMPTS:
            signed = self._sign(urls, attempt.name.replace(" ", "-"))
            yield _judged(attempt, self.fetch(attempt.change(signed, CONTENT)))
        yield from self._browsers(self._sign(urls, "browser"))
        yield from self._expired(short)

    def _sign(self, urls: SignedUrls, name: str, life: timedelta = LIFE) -> SignedRequest:
        return urls.sign_put(
            self._key(name), content_type=TYPE, size=len(CONTENT), sha256=_sha256(CONTENT), expires_in=life
        )

    def _clock(self, reply: HttpReply) -> Finding:
        self._skew = skew_of(reply, self.clock.now())
        if self._skew is None:
            return Finding("bucket clock", "warning", "the store does not tell its time")
        detail = f"{self._skew.total_seconds():+.0f} s against this host's"
        if abs(self._skew) <= MOST_SKEW:
            return Finding("bucket clock", "ok", detail)
        return Finding("bucket clock", "warning", detail, "Let this host's clock follow a time server (NTP).")

    def _download(self, urls: SignedUrls, key: ObjectKey) -> Finding:
        signed = urls.sign_get(key, filename="doctor.wav", content_type=TYPE, expires_in=LIFE)
        whole = self.fetch(HttpRequest.of(signed))
        request = HttpRequest.of(signed)
        part = self.fetch(attrs.evolve(request, headers={**request.headers, "range": "bytes=100-149"}))
        if (whole.status, whole.body) != (200, CONTENT):
            return Finding("signed get", "problem", f"answered {whole.told}, {len(whole.body)} bytes", _SIGNED_FIX)
        if (part.status, part.body) != (206, CONTENT[100:150]):
            return Finding("signed get", "warning", f"a range was answered {part.told}", _RANGE_FIX)
        return Finding("signed get", "ok", "whole and by range")

    def _browsers(self, signed: SignedRequest) -> Iterator[Finding]:
        if not self.origins:
            yield Finding("bucket cors", "ok", "not asked: MUSPROJ_CORS_ORIGINS names no browser's origin")
        for origin in self.origins:
            names = sorted(name.lower() for name in signed.headers if name.lower() != "content-length")
            asked = {
                "origin": origin,
                "access-control-request-method": "PUT",
                "access-control-request-headers": ",".join(names),
            }
            reply = self.fetch(HttpRequest(method="OPTIONS", url=signed.url, headers=asked))
            lacks = reply.lacks_of_preflight(origin, "PUT", names)
            fix = f"Let the bucket's CORS rule allow {origin}: methods PUT and GET, headers {', '.join(names)}; expose ETag."
            yield Finding(
                "bucket cors",
                "warning" if lacks else "ok",
                f"{origin}: {lacks}" if lacks else f"{origin} may put",
                fix if lacks else None,
            )

    def _expired(self, signed: SignedRequest) -> Iterator[Finding]:
        """Try a URL whose time is over, by the store's clock too."""
        late = timedelta(0) if self._skew is None else max(timedelta(0), -self._skew)
        if late > LONGEST_WAIT:
            yield Finding("signed put expired", "warning", "not tried: the store's clock is too far behind")
            return
        over = signed.expires_at + late + timedelta(seconds=2)
        self.sleep(max(0.0, (over - self.clock.now()).total_seconds()))
        reply = self.fetch(HttpRequest.of(signed, CONTENT))
        is_refused = reply.status in REFUSED
        fix = "Use a store that heeds X-Amz-Expires: on this one every URL lives for ever."
        yield Finding(
            "signed put expired",
            "ok" if is_refused else "problem",
            f"answered {reply.told}",
            None if is_refused else fix,
        )

    def _key(self, name: str) -> ObjectKey:
        return object_key(self._prefix + name)


_RANGE_FIX = "Use a store that serves ranges: players seek by them, and jobs fetch by them."
_SIGNED_FIX = (
    "Look at the bucket's address, region and token: the token must be allowed to read and write objects, and the "
    "clock of this host must be right."
)


def _judged(attempt: Attempt, reply: HttpReply) -> Finding:
    if reply.status in REFUSED:
        return Finding(attempt.name, "ok", f"answered {reply.told}")
    return Finding(attempt.name, attempt.status, f"was accepted: {reply.told}", attempt.fix)


def _guarded(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except MusProjError as exc:
        yield Finding(name, "problem", exc.message, exc.hint)
    except OSError as exc:
        yield Finding(name, "problem", f"no answer: {exc}", "Can this host reach the bucket's address?")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
