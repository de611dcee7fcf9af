"""What an upload must be before it becomes version 1."""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import attrs

from musproj.application.digests import sha256_of
from musproj.domain import media
from musproj.domain.asset import Upload
from musproj.domain.version import File
from musproj.errors import LimitExceededError, NotAudioError, UploadMismatchError
from musproj.ports.processor import AudioProbe
from musproj.ports.storage import LocalFiles, Storage, StoredObject


@attrs.frozen(kw_only=True)
class Verifier:
    """Checks an arrived object against what was declared, and that it is audio within the limits."""

    storage: Storage
    local_files: LocalFiles | None
    probe: AudioProbe
    max_bytes: int
    max_duration_s: float

    def verify(self, upload: Upload, stored: StoredObject) -> File:
        """Return the source file's record; its type and length come from the bytes, not from the client.

        Raises:
            UploadMismatchError: size or sha256 differ from what was declared.
            LimitExceededError: size or duration over the policy.
            ProcessingError: no audio, damaged, or empty.
        """
        self._check_size(upload, stored)
        if stored.sha256 is not None:
            _check_sha256(upload, stored.sha256)
        content_type = self._sniff(stored)
        with self._as_file(stored) as (path, sha256):
            _check_sha256(upload, sha256)
            info = self.probe.probe(path)
        if info.duration is not None and info.duration > self.max_duration_s:
            raise LimitExceededError(
                f"The audio lasts {info.duration:.0f} s, at most {self.max_duration_s:.0f} s are allowed.",
                limit="duration",
                value=info.duration,
                max=self.max_duration_s,
            )
        return File(
            name="source",
            kind="source",
            object_key=stored.key,
            size_bytes=stored.size_bytes,
            sha256=sha256,
            etag=stored.etag,
            content_type=content_type,
            duration=info.duration,
            sample_rate=info.sample_rate,
            channels=info.channels,
        )

    def _check_size(self, upload: Upload, stored: StoredObject) -> None:
        if upload.size_bytes is not None and stored.size_bytes != upload.size_bytes:
            raise UploadMismatchError(f"The object has {stored.size_bytes} bytes, declared were {upload.size_bytes}.")
        if stored.size_bytes == 0:
            raise NotAudioError("The upload is empty.")
        if stored.size_bytes > self.max_bytes:
            raise LimitExceededError(
                f"The object has {stored.size_bytes} bytes, at most {self.max_bytes} are allowed.",
                limit="bytes",
                value=stored.size_bytes,
                max=self.max_bytes,
            )

    def _sniff(self, stored: StoredObject) -> str:
        head = b"".join(self.storage.read(stored.key, length=media.SNIFF_BYTES, etag=stored.etag))
        container = media.sniff(head)
        if container is None:
            raise NotAudioError("The file is no audio: no known container begins like this.")
        return media.CONTENT_TYPES[container]

    @contextmanager
    def _as_file(self, stored: StoredObject) -> Generator[tuple[Path, str]]:
        """Give the object as a file, and its sha256; what has to be fetched is fetched once."""
        if self.local_files is not None:
            sha256 = stored.sha256 or sha256_of(self.storage.read(stored.key, etag=stored.etag))
            yield self.local_files.path(stored.key), sha256
            return
        with tempfile.NamedTemporaryFile(prefix="musproj-probe-") as copy:
            sha256 = sha256_of(self.storage.read(stored.key, etag=stored.etag), copy.write)
            copy.flush()
            yield Path(copy.name), sha256


def _check_sha256(upload: Upload, sha256: str) -> None:
    if upload.sha256 is not None and sha256 != upload.sha256:
        raise UploadMismatchError(f"The object's sha256 is {sha256}, declared was {upload.sha256}.")
