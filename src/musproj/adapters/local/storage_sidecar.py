"""What is kept beside an object: the facts that a plain file cannot carry."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from musproj.adapters.local.storage_errors import MISSING
from musproj.adapters.local.storage_tree import StoreTree, sidecar_parts
from musproj.domain.keys import ObjectKey
from musproj.ports.storage import BLOCK_BYTES

_SCHEMA = 1


@attrs.frozen(kw_only=True)
class Sidecar:
    """The metadata of one object."""

    key: ObjectKey
    size_bytes: int
    sha256: str
    content_type: str
    metadata: Mapping[str, str]

    def encode(self) -> bytes:
        """Return its file's content."""
        fields = {
            "schema": _SCHEMA,
            "key": self.key,
            "size": self.size_bytes,
            "sha256": self.sha256,
            "contentType": self.content_type,
            "metadata": dict(self.metadata),
        }
        return json.dumps(fields, sort_keys=True).encode()

    @classmethod
    def decode(cls, content: bytes) -> "Sidecar | None":
        """Read its file's content; None where it is damaged or of a later schema."""
        try:
            fields: dict[str, Any] = json.loads(content)
            if fields["schema"] != _SCHEMA:
                return None
            return cls(
                key=ObjectKey(fields["key"]),
                size_bytes=int(fields["size"]),
                sha256=str(fields["sha256"]),
                content_type=str(fields["contentType"]),
                metadata=dict(fields["metadata"]),
            )
        except (ValueError, TypeError, KeyError):
            return None


def read_sidecar(tree: StoreTree, parts: Sequence[str]) -> Sidecar | None:
    """Return the metadata of the object at `parts`, or None where there is none to be read.

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        with tree.file(sidecar_parts(parts)) as fd:
            # Metadata have at most 8 KiB on S3; a block is ample and a bound.
            return Sidecar.decode(os.pread(fd, BLOCK_BYTES, 0))
    except OSError as exc:
        if exc.errno in MISSING:
            return None
        raise
