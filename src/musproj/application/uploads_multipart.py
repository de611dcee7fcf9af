"""Large uploads in parts: sign them, tell what has arrived, make one object of them."""

from collections.abc import Sequence
from datetime import timedelta

import attrs

from musproj.domain.asset import Asset, AssetStatus
from musproj.domain.ids import AssetId, Owner
from musproj.domain.multipart import MultipartPlan, plan_parts
from musproj.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    ObjectExistsError,
    ObjectMissingError,
    UploadMismatchError,
    UploadMissingError,
    Violation,
)
from musproj.ports.assets import AssetStore
from musproj.ports.clock import Clock
from musproj.ports.storage import MultipartUploads, ReceivedPart, SignedRequest, Storage, StoredObject

TOLD = 100
"""How many wrong parts an error names."""


@attrs.frozen
class SignedPart:
    """Where to put one part; the signed headers are to be sent exactly."""

    number: int
    signed: SignedRequest


@attrs.frozen
class SignedParts:
    """The parts that were asked for, in that order."""

    plan: MultipartPlan
    parts: Sequence[SignedPart]


@attrs.frozen
class ReceivedParts:
    """What has arrived of an upload, by number."""

    plan: MultipartPlan
    parts: Sequence[ReceivedPart]


@attrs.frozen
class _Arrival:
    """The planned parts that are there, and what is wrong with them."""

    parts: Sequence[ReceivedPart]
    missing: Sequence[int]
    unequal: Sequence[int]

    @classmethod
    def of(cls, asset: Asset, plan: MultipartPlan, found: Sequence[ReceivedPart]) -> "_Arrival":
        size, by_number = _size(asset), {part.number: part for part in found}
        numbers = range(1, plan.part_count + 1)
        parts = [by_number[number] for number in numbers if number in by_number]
        return cls(
            parts=parts,
            missing=[number for number in numbers if number not in by_number],
            unequal=[part.number for part in parts if part.size_bytes != plan.size_of(part.number, size)],
        )

    @property
    def is_whole(self) -> bool:
        return not self.missing and not self.unequal


@attrs.frozen(kw_only=True)
class UploadParts:
    """The parts of pending uploads, where the store takes parts.

    The store hears of an upload with the first part that is signed: who sends the file whole costs nothing.
    """

    assets: AssetStore
    storage: Storage
    multipart: MultipartUploads | None
    clock: Clock

    def plan(self, size: int | None, *, over: int) -> MultipartPlan | None:
        """Return how an upload may come in parts; None where it is to come whole."""
        if self.multipart is None or size is None or size <= over:
            return None
        return plan_parts(size)

    def sign(self, owner: Owner, asset_id: AssetId, numbers: Sequence[int], life: timedelta) -> SignedParts:
        """Sign the PUT of each part named."""
        asset = self.assets.get(owner, asset_id)
        store, plan = self._planned(asset)
        _check_numbers(numbers, plan)
        self._refuse_arrived(asset)
        upload_id = self._renewed(asset, store, plan, life)
        key, size = asset.upload.object_key, _size(asset)
        signed = [
            store.sign_part(key, upload_id, number, size=plan.size_of(number, size), expires_in=life)
            for number in numbers
        ]
        return SignedParts(plan, [SignedPart(*pair) for pair in zip(numbers, signed, strict=True)])

    def received(self, owner: Owner, asset_id: AssetId) -> ReceivedParts:
        """Return what has arrived."""
        asset = self.assets.get(owner, asset_id)
        store, plan = self._planned(asset)
        if plan.upload_id is None:
            return ReceivedParts(plan, ())
        try:
            return ReceivedParts(plan, store.parts(asset.upload.object_key, plan.upload_id))
        except ObjectMissingError:
            self._refuse_arrived(asset)
            raise UploadMissingError(
                f"The store does not keep the parts of asset {asset_id} any more.",
                hint="Request a new upload.",
                asset_id=asset_id,
            ) from None

    def is_whole(self, asset: Asset) -> bool:
        """Tell whether every part has arrived, so that a confirm will find the object."""
        opened = self._opened(asset)
        if opened is None:
            return False
        store, plan, upload_id = opened
        try:
            found = store.parts(asset.upload.object_key, upload_id)
        except ObjectMissingError:
            return False
        return _Arrival.of(asset, plan, found).is_whole

    def assemble(self, asset: Asset) -> StoredObject:
        """Make one object of the parts; a repeat finds it.

        Raises:
            ObjectMissingError: no part was asked for, or the store has dropped them.
            UploadMissingError: parts are missing.
            UploadMismatchError: parts have another size than planned.
        """
        key, opened = asset.upload.object_key, self._opened(asset)
        if opened is None:
            raise ObjectMissingError(f"There is no object {key}.", key=key)
        store, plan, upload_id = opened
        try:
            arrival = _Arrival.of(asset, plan, store.parts(key, upload_id))
            self._check(asset, arrival)
            return store.complete(key, upload_id, arrival.parts)
        except ObjectMissingError:
            pass  # another confirm was faster, or an earlier one lost its answer
        except ObjectExistsError:
            self.close(asset)
        return self.storage.stat(key)

    def close(self, asset: Asset) -> bool:
        """End the asset's upload in parts, if there is one; tell whether there was.

        A confirm that is about to complete it finds it gone, so nothing replaces the object any more.
        """
        opened = self._opened(asset)
        if opened is None:
            return False
        store, _, upload_id = opened
        store.abort(asset.upload.object_key, upload_id)
        return True

    # ── steps ──

    def _planned(self, asset: Asset) -> tuple[MultipartUploads, MultipartPlan]:
        if asset.status is not AssetStatus.PENDING:
            raise ConflictError(f"Asset {asset.asset_id} is {asset.status}.", asset_id=asset.asset_id)
        plan = asset.upload.multipart
        if plan is None or self.multipart is None:
            raise ConflictError(
                f"The upload of asset {asset.asset_id} comes whole.",
                hint="PUT the file to the `url` of its ticket.",
                asset_id=asset.asset_id,
            )
        return self.multipart, plan

    def _opened(self, asset: Asset) -> tuple[MultipartUploads, MultipartPlan, str] | None:
        plan = asset.upload.multipart
        if plan is None or plan.upload_id is None or self.multipart is None:
            return None
        return self.multipart, plan, plan.upload_id

    def _renewed(self, asset: Asset, store: MultipartUploads, plan: MultipartPlan, life: timedelta) -> str:
        """Note how long the parts' URLs live; return the store's name of the upload, which may begin here."""
        until = self.clock.now() + life
        if plan.upload_id is not None:
            self.assets.renew_upload(asset.owner, asset.asset_id, until)
            return plan.upload_id
        begun = store.start(asset.upload.object_key, content_type=asset.upload.content_type)
        try:
            noted = self.assets.renew_upload(asset.owner, asset.asset_id, until, upload_id=begun).upload.multipart
        except (ConflictError, NotFoundError):
            store.abort(asset.upload.object_key, begun)
            raise
        if noted is None or noted.upload_id in (None, begun):
            return begun
        store.abort(asset.upload.object_key, begun)  # another request was faster
        return noted.upload_id

    def _check(self, asset: Asset, arrival: _Arrival) -> None:
        """Refuse what R2 would refuse only after it was asked to make the object (R2 docs, multipart objects)."""
        if arrival.missing:
            raise UploadMissingError(
                f"{len(arrival.missing)} parts of asset {asset.asset_id} have not arrived yet: "
                f"{_listed(arrival.missing)}.",
                hint="PUT them, then confirm again.",
                asset_id=asset.asset_id,
                missing_parts=arrival.missing[:TOLD],
                expired=self.clock.now() > asset.upload.expires_at,
            )
        if arrival.unequal:
            raise UploadMismatchError(
                f"Parts of asset {asset.asset_id} have another size than planned: {_listed(arrival.unequal)}.",
                hint="PUT them again with exactly the signed headers, then confirm again.",
                asset_id=asset.asset_id,
                unequal_parts=arrival.unequal[:TOLD],
            )

    def _refuse_arrived(self, asset: Asset) -> None:
        try:
            self.storage.stat(asset.upload.object_key)
        except ObjectMissingError:
            return
        raise ConflictError(
            f"Asset {asset.asset_id} has its upload already.",
            hint="Confirm it, or request a new upload.",
            asset_id=asset.asset_id,
        )


def _size(asset: Asset) -> int:
    """Return the declared size; an upload without one is never planned in parts."""
    return asset.upload.size_bytes or 0


def _check_numbers(numbers: Sequence[int], plan: MultipartPlan) -> None:
    wrong: list[Violation] = []
    for place, number in enumerate(numbers):
        if not 1 <= number <= plan.part_count:
            wrong.append(Violation(f"/partNumbers/{place}", "range", f"parts are numbered 1 to {plan.part_count}"))
        elif number in numbers[:place]:
            wrong.append(Violation(f"/partNumbers/{place}", "duplicate", f"part {number} is named twice"))
    if wrong:
        raise InvalidError(violations=tuple(wrong))


def _listed(numbers: Sequence[int]) -> str:
    named = ", ".join(str(number) for number in numbers[:TOLD])
    return named if len(numbers) <= TOLD else f"{named}, …"
