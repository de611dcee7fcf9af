"""A version as a Redis hash whose values stay short: one of over 64 bytes would about double its memory.

Redis keeps a small hash as a listpack while every value is at most 64 bytes (`hash-max-listpack-value`). So a file is
three short fields, its key is left out where it can be derived, and provenance lies in a hash of its own.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote, unquote

from musproj.adapters.redis.job_records import Raw, as_json, timestamp
from musproj.codec import from_plain
from musproj.domain.ids import AssetId
from musproj.domain.keys import ObjectKey, version_prefix
from musproj.domain.version import File, Provenance, Version
from musproj.errors import CorruptRecordError

_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)
_PLAIN = "/+;=. \"'()*-_"
"""What may stand in a content type beside letters and digits; a comma parts the fields."""


def to_fields(asset_id: AssetId, version: Version) -> dict[str, str]:
    """Return the fields of a published version, the seed's first."""
    made = version.provenance
    known = {
        "version": str(version.number),
        "objectKey": version.primary.object_key,
        "kind": version.kind,
        "createdAt": timestamp(version.created_at),
        "fromVersion": version.from_version,
        "jobId": made and made.job_id,
        "processor": made and f"{made.processor}@{made.processor_version}",
        "fileCount": len(version.files),
        "files": ",".join(file.name for file in version.files) if len(version.files) > 1 else None,
    }
    found = {name: str(value) for name, value in known.items() if value is not None}
    for file in version.files:
        found |= _file_fields(version_prefix(asset_id, version.number), file)
    return found


def from_fields(asset_id: AssetId, raw: Raw, provenance: bytes | None = None) -> Version:
    """Return the version of a hash.

    Raises:
        CorruptRecordError: it is none.
    """
    try:
        number = int(raw["version"])
        names = raw["files"].split(",") if "files" in raw else [key[2:] for key in raw if key.startswith("f:")]
        return Version(
            number=number,
            kind=raw["kind"],
            files=tuple(_file(version_prefix(asset_id, number), name, raw) for name in names),
            created_at=datetime.fromisoformat(raw["createdAt"]),
            from_version=int(raw["fromVersion"]) if "fromVersion" in raw else None,
            provenance=None if provenance is None else from_plain(Provenance, json.loads(provenance)),
        )
    except _UNREADABLE as exc:
        raise CorruptRecordError(f"A version of {asset_id} cannot be read: {exc}", asset_id=asset_id) from exc


def provenance_json(provenance: Provenance) -> str:
    """Return what a version was made from as JSON."""
    return as_json(provenance)


def object_keys(asset_id: AssetId, raw: Raw) -> Sequence[str]:
    """Return the keys of a version's objects; none where the hash is not there."""
    return [file.object_key for file in from_fields(asset_id, raw).files] if raw else []


def _file_fields(prefix: str, file: File) -> Mapping[str, str]:
    _, _, extension = file.object_key.removeprefix(prefix).rpartition(".")
    digest = base64.urlsafe_b64encode(bytes.fromhex(file.sha256)).rstrip(b"=").decode()
    facts = (file.kind, quote(file.content_type, safe=_PLAIN), file.duration, file.sample_rate, file.channels)
    found = {
        f"f:{file.name}": f"{extension},{file.size_bytes},{digest}",
        f"a:{file.name}": ",".join("" if fact is None else str(fact) for fact in facts),
        f"e:{file.name}": file.etag,
    }
    if f"{prefix}{file.name}.{extension}" != file.object_key:
        found[f"k:{file.name}"] = file.object_key
    return found


def _file(prefix: str, name: str, raw: Raw) -> File:
    extension, size, digest = raw[f"f:{name}"].split(",")
    kind, content_type, seconds, rate, channels = raw[f"a:{name}"].split(",")
    return File(
        name=name,
        kind=kind,
        object_key=ObjectKey(raw.get(f"k:{name}", f"{prefix}{name}.{extension}")),
        size_bytes=int(size),
        sha256=base64.urlsafe_b64decode(digest + "=").hex(),
        etag=raw[f"e:{name}"],
        content_type=unquote(content_type),
        duration=float(seconds) if seconds else None,
        sample_rate=int(rate) if rate else None,
        channels=int(channels) if channels else None,
    )
