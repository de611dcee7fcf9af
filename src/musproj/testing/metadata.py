"""The laws of an `AssetStore`."""

from musproj.testing.laws.asset_records import AssetListLaws, ChangeLaws, CreateLaws
from musproj.testing.laws.asset_versions import AttachmentLaws, ReuseLaws, VersionLaws
from musproj.testing.laws.garbage import AssetBackendLaws, GarbageLaws, TombstoneLaws
from musproj.testing.laws.uploads import ConfirmClaimLaws, ConfirmLaws, SweepLaws


class AssetStoreContract(
    CreateLaws,
    AssetListLaws,
    ChangeLaws,
    VersionLaws,
    AttachmentLaws,
    ReuseLaws,
    ConfirmLaws,
    ConfirmClaimLaws,
    SweepLaws,
    GarbageLaws,
    TombstoneLaws,
    AssetBackendLaws,
):
    """Override `open_ledger`: assets and jobs of one installation are one set of laws."""
