"""The secrets behind signed URLs."""

import fcntl
import hashlib
import logging
import os
import re
import secrets
import stat
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import attrs

from musproj.adapters.local.host import make_private
from musproj.adapters.local.storage_errors import os_errors
from musproj.errors import ConfigurationError

FILE_NAME = "signing-key"

_SHORTEST = 16
_BYTES = 32
"""A key as long as the hash's output (RFC 2104, section 3)."""

_log = logging.getLogger(__name__)


def _long_enough(_: object, __: "attrs.Attribute[bytes]", secret: bytes) -> None:
    if len(secret) < _SHORTEST:
        raise ConfigurationError(
            f"A signing key has at least {_SHORTEST} characters, this one has {len(secret)}.",
            hint="Leave MUSPROJ_SIGNING_KEY empty: one is made and kept in the data folder.",
        )


@attrs.frozen
class SigningKeys:
    """The current key signs; both verify, so that URLs outlive a rotation."""

    current: bytes = attrs.field(repr=False, validator=_long_enough)
    previous: bytes | None = attrs.field(default=None, repr=False, validator=attrs.validators.optional(_long_enough))

    @classmethod
    def from_secret(cls, text: str) -> Self:
        """Read the current key and, behind a comma or a space, the previous one.

        Raises:
            ConfigurationError: there are none, more than two, or one is short.
        """
        found = [part.encode() for part in re.split(r"[\s,]+", text) if part]
        if not 1 <= len(found) <= 2:
            raise ConfigurationError(
                f"A signing key is one word, or two while it is changed; these are {len(found)}.",
                hint="Write MUSPROJ_SIGNING_KEY as <new> or <new>,<old>.",
            )
        return cls(*found)

    def by_id(self) -> dict[str, bytes]:
        """Return id → key, the current one first."""
        keys = (self.current,) if self.previous is None else (self.current, self.previous)
        return {key_id(key): key for key in keys}


def key_id(key: bytes) -> str:
    """Return what a URL names `key` by; it tells nothing of it."""
    return hashlib.sha256(b"musproj signing key id\0" + key).hexdigest()[:8]


def load_or_create_signing_key(data_dir: Path) -> SigningKeys:
    """Return the keys kept in `data_dir`, made at the first call; processes that start together get the same ones.

    Raises:
        BackendUnavailableError: the folder cannot be read or written.
        ConfigurationError: the file holds no key.
    """
    with os_errors("keep its signing key"), _locked(data_dir) as folder:
        text = _read(folder)
        if text is None:
            text = secrets.token_hex(_BYTES)
            _write(folder, text)
        return SigningKeys.from_secret(text)


def rotate_signing_key(data_dir: Path) -> SigningKeys:
    """Make a new key; URLs of the one before stay valid until the next rotation.

    Processes that run take the new one when they start again.

    Raises:
        BackendUnavailableError: the folder cannot be read or written.
        ConfigurationError: the file holds no key.
    """
    with os_errors("keep its signing key"), _locked(data_dir) as folder:
        old = (_read(folder) or "").split()[:1]
        text = " ".join([secrets.token_hex(_BYTES), *old])
        _write(folder, text)
        return SigningKeys.from_secret(text)


@contextmanager
def _locked(data_dir: Path) -> Generator[int, None, None]:
    make_private(data_dir)
    folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)


def _read(folder: int) -> str | None:
    try:
        fd = os.open(FILE_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        if stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
            _log.warning(
                "Others on this host may read the signing key; run: chmod 600 %s",
                FILE_NAME,
                extra={"action": "signing_key_exposed"},
            )
        return os.read(fd, 4096).decode(errors="replace")
    finally:
        os.close(fd)


def _write(folder: int, text: str) -> None:
    """Replace the file in one step, durable on return."""
    temporary = f".{FILE_NAME}-{uuid.uuid4().hex}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        try:
            os.write(fd, f"{text}\n".encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, FILE_NAME, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)
