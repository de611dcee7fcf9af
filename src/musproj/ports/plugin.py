"""What a storage, metadata or queue plugin is given, and what it hands back.

A plugin is a function named in the entry-point group `musproj.storage`, `musproj.metadata` or `musproj.queue`;
its name is the scheme of the URL that chooses it. Built-in adapters have the same shape.
"""

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import attrs

from musproj.domain.ledger import Rules
from musproj.ports.assets import AssetStore
from musproj.ports.clock import Clock
from musproj.ports.gate import StoreGate
from musproj.ports.jobs import JobStore
from musproj.ports.queue import JobQueue
from musproj.ports.storage import LocalFiles, SignedUrls, Storage


@attrs.frozen(kw_only=True)
class PluginContext:
    """What an adapter may need of the installation."""

    clock: Clock
    rules: Rules
    queue_name: str
    data: Path
    """Folder of the embedded deployment; it may not exist yet."""
    base_url: str
    """Where clients reach the API, without a trailing slash."""
    max_upload_bytes: int
    signing_key: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class OpenedStorage:
    """A storage and its extra powers; None where it lacks one."""

    storage: Storage
    signed_urls: SignedUrls | None = None
    local_files: LocalFiles | None = None
    gate: StoreGate | None = None
    """Where the API itself serves the signed URLs."""


@attrs.frozen(kw_only=True)
class OpenedMetadata:
    """A metadata store."""

    assets: AssetStore
    jobs: JobStore
    close: Callable[[], None]
    backend: object = None
    """The adapter's own handle, which a queue of the same technology may share."""
    check: Callable[[], str] = lambda: "ok"
    """Looks at its integrity; returns a sentence, raises `MusProjError` where something is wrong."""


class StoragePlugin(Protocol):
    """Opens a storage."""

    @abstractmethod
    def __call__(self, url: str, context: PluginContext) -> OpenedStorage:
        """Open what `url` names.

        Raises:
            ConfigurationError: the URL is wrong.
        """


class MetadataPlugin(Protocol):
    """Opens a metadata store."""

    @abstractmethod
    def __call__(self, url: str, context: PluginContext) -> OpenedMetadata:
        """Open what `url` names.

        Raises:
            ConfigurationError: the URL is wrong.
        """


class QueuePlugin(Protocol):
    """Opens a queue."""

    @abstractmethod
    def __call__(self, url: str, context: PluginContext, metadata: OpenedMetadata) -> JobQueue:
        """Open what `url` names; it may share the metadata's connection.

        Raises:
            ConfigurationError: the URL is wrong, or does not go with this metadata store.
        """
