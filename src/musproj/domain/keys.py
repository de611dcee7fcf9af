"""Object keys: `assets/<assetId>/v<N>/<name>.<ext>`; built, parsed and refused here alone."""

import re
from typing import NewType

import attrs

from musproj.domain.ids import AssetId, JobId
from musproj.errors import InvalidError, Violation

ObjectKey = NewType("ObjectKey", str)

KEY_PREFIX = "assets/"
"""Of every key of ours."""
MAX_KEY_BYTES = 1024
"""R2 docs, platform limits; S3 has the same."""

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_FILE_NAME = re.compile(r"[a-z0-9_-]{1,32}")
_EXTENSION = re.compile(r"[a-z0-9]{1,8}")
_FILE_KEY = re.compile(r"assets/([A-Za-z0-9_-]{1,64})/v([1-9][0-9]*)/([A-Za-z0-9_-]+)\.([a-z0-9]{1,8})")


@attrs.frozen
class KeyParts:
    """What a file's key says."""

    asset_id: AssetId
    version: int
    stem: str
    extension: str


def file_key(asset_id: AssetId, version: int, name: str, extension: str) -> ObjectKey:
    """Return the key of a version's file.

    Raises:
        InvalidError: name or extension breaks its grammar.
    """
    _check_name(name, extension)
    return ObjectKey(f"{version_prefix(asset_id, version)}{name}.{extension}")


def attachment_key(asset_id: AssetId, version: int, name: str, job_id: JobId, extension: str) -> ObjectKey:
    """Return the key of an attachment; it carries the job's id, so that two jobs never meet.

    Raises:
        InvalidError: name or extension breaks its grammar.
    """
    _check_name(name, extension)
    return ObjectKey(f"{version_prefix(asset_id, version)}{name}-{job_id}.{extension}")


def asset_prefix(asset_id: AssetId) -> str:
    """Return the prefix of all objects of an asset; the trailing slash keeps `a` apart from `a2`."""
    return f"assets/{asset_id}/"


def version_prefix(asset_id: AssetId, version: int) -> str:
    """Return the prefix of all objects of one version number."""
    return f"assets/{asset_id}/v{version}/"


def object_key(text: str) -> ObjectKey:
    """Return `text` as a key that no store can take for a path out of itself.

    Raises:
        InvalidError: empty, too long, or a part that is empty or begins with a dot.
    """
    if len(text) > MAX_KEY_BYTES or _KEY.fullmatch(text) is None:
        raise InvalidError(
            violations=(Violation("/objectKey", "pattern", "a key is slash-separated parts of [A-Za-z0-9._-]"),),
        )
    return ObjectKey(text)


def parse_file_key(key: str) -> KeyParts | None:
    """Return what `key` says, or None where it is no key of a file."""
    match = _FILE_KEY.fullmatch(key)
    if match is None:
        return None
    return KeyParts(AssetId(match[1]), int(match[2]), match[3], match[4])


def is_file_name(name: str) -> bool:
    """Tell whether `name` may name a file of a version."""
    return _FILE_NAME.fullmatch(name) is not None


def _check_name(name: str, extension: str) -> None:
    if not is_file_name(name):
        raise InvalidError(violations=(Violation("/file", "pattern", f"a file name matches {_FILE_NAME.pattern}"),))
    if _EXTENSION.fullmatch(extension) is None:
        raise InvalidError(violations=(Violation("/file", "pattern", f"an extension matches {_EXTENSION.pattern}"),))
