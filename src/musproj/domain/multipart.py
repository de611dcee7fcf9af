"""Large uploads in parts: how many and how large; planned once, before the first byte."""

import attrs

MIB = 1024**2
MIN_PART_BYTES = 8 * MIB
"""Above the 5 MiB of S3 and R2 (R2 docs, multipart objects): few parts, since a phone sends each as a file."""
MAX_PLANNED_PARTS = 9_000
"""Below the 10,000 of S3 and R2."""


@attrs.frozen(kw_only=True)
class MultipartPlan:
    """How an upload is cut: equal parts, numbered from 1, of which the last carries the rest.

    R2 refuses unequal parts, and only when all of them are there.
    """

    part_size: int
    """Bytes."""
    part_count: int
    upload_id: str | None = None
    """The store's name of the upload, from the first signed part on."""

    def size_of(self, number: int, size_bytes: int) -> int:
        """Return the bytes of one part of an upload of `size_bytes`."""
        if number < self.part_count:
            return self.part_size
        return size_bytes - self.part_size * (self.part_count - 1)

    def with_id(self, upload_id: str) -> "MultipartPlan":
        """Return the plan under the store's name; the first one given stays."""
        return self if self.upload_id is not None else attrs.evolve(self, upload_id=upload_id)


def plan_parts(size_bytes: int) -> MultipartPlan:
    """Return how to cut an upload of `size_bytes`, at least 1."""
    part_size = max(MIN_PART_BYTES, _up(_up(size_bytes, MAX_PLANNED_PARTS) // MAX_PLANNED_PARTS, MIB))
    return MultipartPlan(part_size=part_size, part_count=_up(size_bytes, part_size) // part_size)


def _up(number: int, step: int) -> int:
    """Return the next multiple of `step`."""
    return -(-number // step) * step
