"""boto3's client of a bucket, for what is done seldom: made when it is first asked for, as it costs a third of a second.

Not for a child that was forked from a process that has used it.
"""

import threading
from typing import Any

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.patience import Patience
from musproj.errors import MissingExtraError
from musproj.ports.plugin import Credentials


class LateBotoClient:
    """One client per process; a client is thread-safe, the session that makes it is not."""

    __slots__ = ("_address", "_client", "_credentials", "_lock", "_patience")

    def __init__(self, address: BucketAddress, credentials: Credentials, patience: Patience) -> None:
        """Note what it takes; nothing is imported yet."""
        self._address = address
        self._credentials = credentials
        self._patience = patience
        self._client: Any = None
        self._lock = threading.Lock()

    def get(self) -> Any:
        """Return the client.

        Raises:
            MissingExtraError: boto3 is not installed.
        """
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def close(self) -> None:
        """Close its connections, if there are any; a second call does nothing."""
        with self._lock:
            if self._client is not None:
                self._client.close()

    def _make(self) -> Any:
        try:
            import boto3  # noqa: PLC0415 - most processes never need it
            from botocore.config import Config  # noqa: PLC0415
        except ModuleNotFoundError as exc:
            raise MissingExtraError("boto3", "s3") from exc
        config = Config(
            signature_version="s3v4",  # with some regions boto3 signs by SigV2 otherwise, which covers no header
            s3={"addressing_style": "virtual" if self._address.is_virtual else "path"},
            request_checksum_calculation="when_required",  # R2 knows no trailers
            response_checksum_validation="when_required",
            retries={"mode": "standard", "total_max_attempts": self._patience.tries},
            connect_timeout=self._patience.connect_s,
            read_timeout=self._patience.read_s,
            max_pool_connections=32,
            tcp_keepalive=True,
        )
        # Given explicitly: boto3 would look into the environment and ask the host's metadata service.
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self._address.endpoint,
            region_name=self._address.region,
            aws_access_key_id=self._credentials.access_key_id,
            aws_secret_access_key=self._credentials.secret_access_key,
            aws_session_token=self._credentials.session_token,
            config=config,
        )
