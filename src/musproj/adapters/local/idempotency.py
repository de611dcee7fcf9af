"""What a client's Idempotency-Key made before."""

import sqlite3
from datetime import datetime
from typing import Literal

from musproj.adapters.local.rows import hidden
from musproj.domain.ids import Owner
from musproj.domain.times import to_millis
from musproj.errors import IdempotencyMismatchError
from musproj.ports.assets import IDEMPOTENCY_LIFE, Idempotency

PURGE = 20
"""Expired keys dropped with each new one: more than come, so that they cannot pile up, and little enough to pay."""

Kind = Literal["asset", "job"]


def made_by(
    connection: sqlite3.Connection, owner: Owner, kind: Kind, idempotency: Idempotency, now: datetime
) -> str | None:
    """Return the id of what the key made, or None where it is new.

    Raises:
        IdempotencyMismatchError: it was used with another body.
    """
    row = connection.execute(
        "SELECT target, body_hash FROM idempotency WHERE owner = ? AND kind = ? AND key = ? AND expires_at > ?",
        (owner, kind, hidden(idempotency.key), to_millis(now)),
    ).fetchone()
    if row is None:
        return None
    if row[1] != idempotency.body_hash:
        raise IdempotencyMismatchError(key=idempotency.key)
    target: str = row[0]
    return target


def remember(
    connection: sqlite3.Connection, owner: Owner, kind: Kind, idempotency: Idempotency, target: str, now: datetime
) -> None:
    """Note that the key made `target`, and drop some that have expired."""
    connection.execute(
        """
        DELETE FROM idempotency WHERE (owner, kind, key) IN (
          SELECT owner, kind, key FROM idempotency WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
        """,
        (to_millis(now), PURGE),
    )
    connection.execute(
        "INSERT OR REPLACE INTO idempotency(owner, kind, key, target, body_hash, expires_at) VALUES(?, ?, ?, ?, ?, ?)",
        (owner, kind, hidden(idempotency.key), target, idempotency.body_hash, to_millis(now + IDEMPOTENCY_LIFE)),
    )
