"""What makes a version or an attachment visible, as parts of the plan of a confirm or a commit."""

from datetime import datetime

from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.job_records import as_json
from musproj.adapters.redis.plan import Plan
from musproj.adapters.redis.version_records import provenance_json, to_fields
from musproj.domain.asset import GC_GRACE
from musproj.domain.ids import AssetId, Owner
from musproj.domain.times import to_millis
from musproj.domain.version import Attachment, Version


def add_version(
    plan: Plan, backend: RedisBackend, owner: Owner, asset_id: AssetId, version: Version, *, moves_head: bool
) -> None:
    """Publish a version of an asset; that its number is free was checked before."""
    keys, number = backend.keys, version.number
    fields = to_fields(asset_id, version)
    plan.write("HSET", keys.version(asset_id, number), *(part for field in fields.items() for part in field))
    plan.write("RPUSH", keys.versions(asset_id), number)
    plan.raise_to(keys.latest_version(asset_id), number)
    plan.write("HINCRBY", keys.asset(asset_id), "revision", 1)
    if moves_head:
        plan.move_head(keys.asset(asset_id), number)
        plan.write("ZADD", keys.movers(asset_id), number, number)
    if version.provenance is not None:
        plan.write("HSET", keys.provenance(asset_id), number, provenance_json(version.provenance))
        plan.write("RPUSH", keys.reuse(owner, version.provenance.reuse_key), f"{asset_id}:{number}")
    plan.write("PUBLISH", keys.changes, asset_id)


def add_attachment(plan: Plan, backend: RedisBackend, asset_id: AssetId, attachment: Attachment, now: datetime) -> None:
    """Store the latest of a name; the object of the one before is gc's."""
    plan.attach(
        backend.keys.attachments(asset_id),
        f"{attachment.version}:{attachment.file.name}",
        as_json(attachment),
        object_key=attachment.file.object_key,
        garbage=backend.keys.gc_due,
        prefix=f"{asset_id}/v{attachment.version}",
        due=to_millis(now + GC_GRACE),
    )
