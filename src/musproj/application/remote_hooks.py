"""Addresses under which services tell that something happened: unguessable, and worth no more than a hint."""

import hashlib
import hmac

from musproj.domain.ids import JobId
from musproj.domain.remote import RemoteOp, RemotePhase
from musproj.ports.clock import Clock
from musproj.ports.jobs import JobStore

MAC_CHARACTERS = 32
SOONEST_S = 2.0
"""Hints that come closer together are one."""


def hook_mac(secret: str, service: str, job_id: JobId, token: str) -> str:
    """Return what makes the address of an operation's webhook unguessable (HMAC-SHA256, 128 bits of it)."""
    text = f"{service}|{job_id}|{token}".encode()
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()[:MAC_CHARACTERS]


def hook_url(base: str, secret: str, job_id: JobId, op: RemoteOp) -> str:
    """Return the address that is given to the service."""
    return f"{base}/hooks/{op.service}/{job_id}/{hook_mac(secret, op.service, job_id, op.token)}"


def take_hint(jobs: JobStore, clock: Clock, secret: str, service: str, job_id: JobId, mac: str) -> bool:
    """Let the operation be asked for at once, where the address is right; tell whether it was."""
    job = jobs.find(job_id)
    op = job.remote if job else None
    if not secret or op is None or op.service != service:
        return False
    if not hmac.compare_digest(hook_mac(secret, service, job_id, op.token).encode(), mac.encode()):
        return False
    while op.heir is not None and (heir := jobs.find(op.heir)) is not None and heir.remote is not None:
        job_id, op = heir.job_id, heir.remote  # a retry goes on with it, under the address that the service knows
    now = clock.now()
    if op.phase is RemotePhase.SUBMITTED and op.next_poll and (op.next_poll - now).total_seconds() > SOONEST_S:
        jobs.hear(job_id, op.evolve(next_poll=now))
    return True
