"""What clients' idempotency keys made, for as long as they are known."""

import base64
import hashlib
from datetime import datetime

import attrs

from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.plan import Plan
from musproj.domain.ids import Owner
from musproj.domain.times import to_millis
from musproj.errors import IdempotencyMismatchError
from musproj.ports.assets import IDEMPOTENCY_LIFE, Idempotency

_LIFE_MS = round(IDEMPOTENCY_LIFE.total_seconds() * 1000)


@attrs.frozen
class ClientKey:
    """One key of one owner; `kind` is what it makes, `asset` or `job`."""

    backend: RedisBackend
    owner: Owner
    kind: str
    idempotency: Idempotency

    @property
    def key(self) -> str:
        """The string key: `<id> <body hash>`, and by a clock of our own also until when."""
        raw = hashlib.sha256(self.idempotency.key.encode("utf-8", "surrogatepass")).digest()
        digest = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        return self.backend.keys.idempotency(self.owner, self.kind, digest)

    def remember(self, plan: Plan, made: str) -> None:
        """Note that it made `made`."""
        value = f"{made} {self.idempotency.body_hash}"
        if self.backend.clock is not None:  # the server does not know that clock
            value += f" {to_millis(self.backend.clock.now() + IDEMPOTENCY_LIFE)}"
        plan.write("SET", self.key, value, "PX", _LIFE_MS)

    def made_by(self, found: bytes | None, now: datetime) -> str | None:
        """Return the id that the string tells of, or None where the key is new or forgotten.

        Raises:
            IdempotencyMismatchError: it was used with another body.
        """
        made, body_hash, until = [*(found or b"").decode().split(" "), "", ""][:3]
        if not made or (until and int(until) <= to_millis(now)):
            return None
        if body_hash != self.idempotency.body_hash:
            raise IdempotencyMismatchError(key=self.idempotency.key)
        return made
