"""Uploads in parts: what is asked of the bucket goes through boto3, what a client may send is signed here."""

import hashlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import attrs

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.boto import LateBotoClient
from musproj.adapters.s3.boto_errors import told_as_ours
from musproj.adapters.s3.exchange import Question
from musproj.adapters.s3.objects import plain_etag
from musproj.adapters.s3.signed_urls import S3SignedUrls
from musproj.domain.keys import ObjectKey
from musproj.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
    UploadMismatchError,
)
from musproj.ports.storage import MultipartUploads, OpenUpload, ReceivedPart, SignedRequest, Storage, StoredObject

PAGE = 1000
"""What S3 lists at most."""
_WRONG_PARTS = frozenset({"EntityTooSmall", "InvalidPart", "InvalidPartOrder"})


@attrs.frozen(kw_only=True)
class S3MultipartUploads(MultipartUploads):
    """Multipart uploads of one bucket."""

    address: BucketAddress
    client: LateBotoClient
    storage: Storage
    urls: S3SignedUrls

    def start(self, key: ObjectKey, *, content_type: str) -> str:
        """Create one."""
        with self._asking("POST", key) as boto:
            made = boto.create_multipart_upload(Bucket=self.address.bucket, Key=key, ContentType=content_type)
        return str(made["UploadId"])

    def sign_part(
        self, key: ObjectKey, upload_id: str, number: int, *, size: int, expires_in: timedelta
    ) -> SignedRequest:
        """Return an UploadPart whose length is signed: R2 refuses unequal parts only at the end."""
        query = {"partNumber": str(number), "uploadId": upload_id}
        return self.urls.request("PUT", key, {"content-length": str(size)}, query, expires_in)

    def parts(self, key: ObjectKey, upload_id: str) -> Sequence[ReceivedPart]:
        """List them all; S3 does so by number."""
        with self._asking("GET", key) as boto:
            pages = boto.get_paginator("list_parts").paginate(
                Bucket=self.address.bucket, Key=key, UploadId=upload_id, PaginationConfig={"PageSize": PAGE}
            )
            return [_received(part) for page in pages for part in page.get("Parts", ())]

    def complete(self, key: ObjectKey, upload_id: str, parts: Sequence[ReceivedPart]) -> StoredObject:
        """Look first, then complete on condition, which R2 does not heed; where the answer is lost, look again."""
        made = self._made(key, upload_id)
        if made is not None:
            return made
        try:
            self._complete(key, upload_id, parts)
        except ObjectMissingError:
            pass  # the upload has ended: was it completed?
        except BackendUnavailableError:
            made = self._made(key, upload_id)
            if made is None:
                raise
            return made
        return self.storage.stat(key)

    def abort(self, key: ObjectKey, upload_id: str) -> None:
        """Abort it, but never one that was completed: Swift may know that still, and would drop what the object is of."""
        try:
            if self._made(key, upload_id) is not None:
                return
        except ObjectExistsError:
            pass  # another write's, so the parts are of no use
        try:
            with self._asking("DELETE", key) as boto:
                boto.abort_multipart_upload(Bucket=self.address.bucket, Key=key, UploadId=upload_id)
        except ObjectMissingError:
            return

    def abandoned(self, prefix: str, before: datetime) -> Iterator[OpenUpload]:
        """List what is open, page after page."""
        with self._asking("GET", None) as boto:
            pages = boto.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.address.bucket, Prefix=prefix, PaginationConfig={"PageSize": PAGE}
            )
            for page in pages:
                for opened in map(_opened, page.get("Uploads", ())):
                    if opened.begun_at < before:
                        yield opened

    def _complete(self, key: ObjectKey, upload_id: str, parts: Sequence[ReceivedPart]) -> None:
        listed = [{"PartNumber": part.number, "ETag": f'"{part.etag}"'} for part in parts]
        try:
            with self._asking("POST", key) as boto:
                boto.complete_multipart_upload(
                    Bucket=self.address.bucket,
                    Key=key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": listed},
                    IfNoneMatch="*",
                )
        except ObjectChangedError as exc:
            raise _taken(key) from exc
        except ConfigurationError as exc:
            if exc.facts.get("store_code") in _WRONG_PARTS:
                raise UploadMismatchError(f"The bucket does not make {key} of these parts: {exc}", key=key) from exc
            raise

    def _made(self, key: ObjectKey, upload_id: str) -> StoredObject | None:
        """Return the object that this upload was completed to, or None where the key is free."""
        try:
            stored = self.storage.stat(key)
        except ObjectMissingError:
            return None
        if not self._has_made(stored, upload_id):
            raise _taken(key)
        return stored

    def _has_made(self, stored: StoredObject, upload_id: str) -> bool:
        """Tell whether the upload has ended, or is known still as Swift does after its end."""
        try:
            parts = self.parts(stored.key, upload_id)
        except ObjectMissingError:
            return True
        return stored.etag == etag_of(parts)

    @contextmanager
    def _asking(self, method: str, key: ObjectKey | None) -> Generator[Any]:
        boto = self.client.get()
        with told_as_ours(Question(method=method, key=key), self.address):
            yield boto


def etag_of(parts: Sequence[ReceivedPart]) -> str | None:
    """Return the entity tag of an object made of `parts` (R2 docs, multipart objects); None where theirs are no MD5."""
    try:
        digests = b"".join(bytes.fromhex(part.etag) for part in parts)
    except ValueError:
        return None
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


def _taken(key: ObjectKey) -> ObjectExistsError:
    return ObjectExistsError(f"There is an object {key} already.", key=key)


def _received(part: Mapping[str, Any]) -> ReceivedPart:
    return ReceivedPart(number=part["PartNumber"], size_bytes=part["Size"], etag=plain_etag(part["ETag"]))


def _opened(found: Mapping[str, Any]) -> OpenUpload:
    return OpenUpload(key=found["Key"], upload_id=found["UploadId"], begun_at=found["Initiated"])
