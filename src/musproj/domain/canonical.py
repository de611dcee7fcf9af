"""The one JSON form that hashes are taken of."""

import base64
import hashlib
import json


def canonical_json(value: object) -> str:
    """Return `value` as JSON with sorted keys and no spaces.

    Raises:
        ValueError: it holds NaN or infinity.
        TypeError: it holds something that JSON cannot.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object) -> str:
    """Return the sha256 of the canonical form, base64url without padding (43 characters)."""
    raw = hashlib.sha256(canonical_json(value).encode()).digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
