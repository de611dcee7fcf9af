"""A store's power to take parts, in this process: for fast tests of what stands on it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from io import BytesIO
from itertools import count

import attrs

from musproj.domain.keys import ObjectKey
from musproj.errors import ObjectExistsError, ObjectMissingError, UploadMismatchError
from musproj.ports.clock import Clock
from musproj.ports.storage import MultipartUploads, OpenUpload, ReceivedPart, SignedRequest, Storage, StoredObject


@attrs.define(kw_only=True)
class _Upload:
    opened: OpenUpload
    content_type: str
    parts: dict[int, bytes] = attrs.field(factory=dict[int, bytes])


@attrs.frozen
class _Signature:
    upload_id: str
    number: int
    request: SignedRequest


class FakeMultipartUploads(MultipartUploads):
    """Takes parts in memory and puts what they make into `storage`.

    It is as R2: strict about equal parts, and without a condition when it makes the object.
    `send` is the client's request: the URLs lead nowhere else.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._uploads: dict[str, _Upload] = {}
        self._made: dict[str, ObjectKey] = {}
        self._signed: dict[str, _Signature] = {}
        self._numbers = count(1)

    def start(self, key: ObjectKey, *, content_type: str) -> str:
        """Open a new one."""
        upload_id = f"upload-{next(self._numbers)}"
        opened = OpenUpload(key=key, upload_id=upload_id, begun_at=self._clock.now())
        self._uploads[upload_id] = _Upload(opened=opened, content_type=content_type)
        return upload_id

    def sign_part(
        self, key: ObjectKey, upload_id: str, number: int, *, size: int, expires_in: timedelta
    ) -> SignedRequest:
        """Remember what was signed."""
        until = self._clock.now() + expires_in
        query = f"partNumber={number}&uploadId={upload_id}&size={size}&until={until.timestamp()}"
        url = f"https://store.invalid/{key}?{query}"
        request = SignedRequest(method="PUT", url=url, headers={"content-length": str(size)}, expires_at=until)
        self._signed[url] = _Signature(upload_id, number, request)
        return request

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Answer the PUT of a part with its status."""
        signature = self._signed.get(url)
        if signature is None or self._clock.now() > signature.request.expires_at:
            return 403
        if dict(headers) != dict(signature.request.headers) or len(body) != int(headers["content-length"]):
            return 403
        upload = self._uploads.get(signature.upload_id)
        if upload is None:
            return 404
        upload.parts[signature.number] = body
        return 200

    def parts(self, key: ObjectKey, upload_id: str) -> Sequence[ReceivedPart]:
        """Sort them by number."""
        found = sorted(self._upload(key, upload_id).parts.items())
        return [ReceivedPart(number=number, size_bytes=len(body), etag=f"part-{number}") for number, body in found]

    def complete(self, key: ObjectKey, upload_id: str, parts: Sequence[ReceivedPart]) -> StoredObject:
        """Look first, then put the parts, one after the other, as one object."""
        if self._made.get(upload_id) == key:
            return self._storage.stat(key)
        self._upload(key, upload_id)
        with suppress(ObjectMissingError):
            self._storage.stat(key)
            raise ObjectExistsError(f"There is an object {key} already.", key=key)
        return self.make(key, upload_id, parts)

    def make(self, key: ObjectKey, upload_id: str, parts: Sequence[ReceivedPart]) -> StoredObject:
        """Make the object, whatever lies under the key meanwhile."""
        upload = self._upload(key, upload_id)
        bodies = [upload.parts[part.number] for part in parts]
        if len({len(body) for body in bodies[:-1]}) > 1 or len(bodies[-1]) > len(bodies[0]):
            raise UploadMismatchError("All non-trailing parts must have the same length.", key=key)
        content = b"".join(bodies)
        self._storage.delete(key)
        stored = self._storage.put(key, BytesIO(content), size=len(content), content_type=upload.content_type)
        self._made[upload_id] = key
        del self._uploads[upload_id]
        return stored

    def abort(self, key: ObjectKey, upload_id: str) -> None:
        """Forget the upload."""
        upload = self._uploads.get(upload_id)
        if upload is not None and upload.opened.key == key:
            del self._uploads[upload_id]

    def abandoned(self, prefix: str, before: datetime) -> Iterator[OpenUpload]:
        """Look through all of them."""
        for upload in list(self._uploads.values()):
            if upload.opened.key.startswith(prefix) and upload.opened.begun_at < before:
                yield upload.opened

    def _upload(self, key: ObjectKey, upload_id: str) -> _Upload:
        upload = self._uploads.get(upload_id)
        if upload is None or upload.opened.key != key:
            raise ObjectMissingError(f"There is no upload {upload_id} of {key}.", key=key)
        return upload
