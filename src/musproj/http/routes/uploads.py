"""Uploads: ask for a signed URL or for those of parts, confirm, renew, give up."""

from musproj.application.uploads import UploadTicket
from musproj.errors import (
    AssetNotFoundError,
    AssetNotReadyError,
    AudioCorruptError,
    AudioEmptyError,
    ConflictError,
    IdempotencyMismatchError,
    InvalidParamsError,
    LimitExceededError,
    NonFiniteError,
    NotAudioError,
    PayloadTooLargeError,
    PresetNotFoundError,
    StorageFullError,
    UnknownJobTypeError,
    UnsupportedFormatError,
    UploadMismatchError,
    UploadMissingError,
)
from musproj.http import schemas, specs
from musproj.http.headers import asset_etag
from musproj.http.operations import Api, Call, Reply

api = Api()


@api.op(
    "POST",
    "/uploads/request",
    id="requestUpload",
    tag="uploads",
    status=201,
    is_idempotent=True,
    has_location=True,
    errors=(
        PayloadTooLargeError,
        UnknownJobTypeError,
        PresetNotFoundError,
        InvalidParamsError,
        IdempotencyMismatchError,
    ),
)
def request_upload(call: Call[schemas.UploadRequest, None]) -> Reply[schemas.UploadTicket]:
    """Make a pending asset and sign the PUT of its file."""
    return _ticket(call, call.mp.uploads.request(call.owner, specs.upload_spec(call.body), call.idempotency))


@api.op(
    "POST",
    "/uploads/confirm/{assetId}",
    id="confirmUpload",
    tag="uploads",
    pool="bucket",
    is_body_optional=True,
    errors=(
        AssetNotFoundError,
        AssetNotReadyError,
        UploadMissingError,
        UploadMismatchError,
        NotAudioError,
        UnsupportedFormatError,
        AudioCorruptError,
        AudioEmptyError,
        NonFiniteError,
        LimitExceededError,
        StorageFullError,
    ),
)
def confirm_upload(call: Call[schemas.Nothing, None]) -> Reply[schemas.Asset]:
    """Verify what arrived and publish it as version 1; repeatable."""
    call.mp.uploads.confirm(call.owner, call.asset_id)
    view = call.mp.assets.get(call.owner, call.asset_id)
    return Reply(content=schemas.to_asset_view(view), etag=asset_etag(view.asset))


@api.op(
    "POST",
    "/uploads/{assetId}/renew",
    id="renewUpload",
    tag="uploads",
    pool="bucket",
    is_body_optional=True,
    errors=(AssetNotFoundError, ConflictError),
)
def renew_upload(call: Call[schemas.RenewRequest, None]) -> Reply[schemas.UploadTicket]:
    """Sign a fresh URL for a pending upload."""
    life = specs.seconds(call.body.expires_in)
    return _ticket(call, call.mp.uploads.renew(call.owner, call.asset_id, expires_in=life))


@api.op(
    "POST",
    "/uploads/{assetId}/parts",
    id="signParts",
    tag="uploads",
    pool="bucket",
    errors=(AssetNotFoundError, ConflictError),
)
def sign_parts(call: Call[schemas.PartsRequest, None]) -> Reply[schemas.SignedParts]:
    """Sign the PUTs of parts of a large upload."""
    life = specs.seconds(call.body.expires_in)
    signed = call.mp.uploads.sign_parts(call.owner, call.asset_id, call.body.part_numbers, expires_in=life)
    return Reply(content=schemas.to_signed_parts(signed, call.mp.clock.now()), cache_control="no-store")


@api.op(
    "GET",
    "/uploads/{assetId}/parts",
    id="listParts",
    tag="uploads",
    pool="bucket",
    errors=(AssetNotFoundError, ConflictError, UploadMissingError),
)
def list_parts(call: Call[None, None]) -> Reply[schemas.ReceivedParts]:
    """Show which parts of a large upload have arrived."""
    received = call.mp.uploads.received_parts(call.owner, call.asset_id)
    return Reply(content=schemas.to_received_parts(received), cache_control="no-store")


@api.op(
    "DELETE",
    "/uploads/{assetId}",
    id="giveUpUpload",
    tag="uploads",
    pool="bucket",
    status=204,
    errors=(AssetNotFoundError, ConflictError),
)
def give_up_upload(call: Call[None, None]) -> Reply[None]:
    """Give a pending upload up, with the parts that have arrived."""
    call.mp.uploads.give_up(call.owner, call.asset_id)
    return Reply()


def _ticket(
    call: Call[schemas.UploadRequest, None] | Call[schemas.RenewRequest, None], ticket: UploadTicket
) -> Reply[schemas.UploadTicket]:
    return Reply(
        content=schemas.to_ticket(ticket, call.mp.clock.now()),
        location=f"/assets/{ticket.asset.asset_id}",
        is_replay=ticket.replayed,
        cache_control="no-store",
    )
