"""Buckets behind their schemes, `s3:` and `r2:`."""

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.boto import LateBotoClient
from musproj.adapters.s3.client import S3Client
from musproj.adapters.s3.multipart import S3MultipartUploads
from musproj.adapters.s3.patience import BRISK, PATIENT
from musproj.adapters.s3.signed_urls import S3SignedUrls
from musproj.adapters.s3.signing import QuerySigner
from musproj.adapters.s3.storage import S3Storage
from musproj.errors import ConfigurationError
from musproj.ports.plugin import Credentials, OpenedStorage, PluginContext


def open_storage(url: str, context: PluginContext) -> OpenedStorage:
    """Open a bucket, without asking it anything: a token for objects alone may neither list nor make buckets.

    Raises:
        ConfigurationError: the URL is wrong, or there are no credentials.
    """
    address = BucketAddress.from_url(url)
    credentials = _credentials(context)
    patience = BRISK if context.is_interactive else PATIENT
    signer = QuerySigner(address, credentials)
    client = S3Client(address, signer, patience=patience)
    boto = LateBotoClient(address, credentials, patience)
    storage, urls = S3Storage(client, boto), S3SignedUrls(address, signer, context.clock)
    multipart = S3MultipartUploads(address=address, client=boto, storage=storage, urls=urls)
    return OpenedStorage(storage=storage, signed_urls=urls, multipart=multipart)


def _credentials(context: PluginContext) -> Credentials:
    credentials = context.credentials
    if credentials is None or not (credentials.access_key_id and credentials.secret_access_key):
        raise ConfigurationError(
            "The bucket needs an access key and its secret.",
            hint="Set MUSPROJ_S3_ACCESS_KEY_ID and MUSPROJ_S3_SECRET_ACCESS_KEY.",
        )
    return credentials
