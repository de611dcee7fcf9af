"""What a storage, metadata or queue plugin is given, and what it hands back.

A plugin is a function named in the entry-point group `musproj.storage`, `musproj.metadata` or `musproj.queue`;
its name is the scheme of the URL that chooses it. Built-in adapters have the same shape.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import attrs

from musproj.domain.ledger import Rules
from musproj.ports.assets import AssetStore
from musproj.ports.clock import Clock
from musproj.ports.findings import Finding
from musproj.ports.gate import StoreGate
from musproj.ports.jobs import JobStore
from musproj.ports.queue import JobQueue
from musproj.ports.remote import RemoteAccounts, RemoteService
from musproj.ports.storage import LocalFiles, MultipartUploads, SignedUrls, Storage


@attrs.frozen(kw_only=True)
class Credentials:
    """Who we are to a bucket."""

    access_key_id: str
    secret_access_key: str = attrs.field(repr=False)
    session_token: str | None = attrs.field(default=None, repr=False)


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
    credentials: Credentials | None = None
    """Of the bucket."""
    redis_prefix: str = ""
    redis_wait_ms: int = 0
    """How long an acknowledged write waits for a replica; 0: not at all."""
    is_interactive: bool = False
    """Somebody waits for the answer: a store that is slow is given up soon."""
    has_server_time: bool = True
    """A store with a clock of its own goes by that; else by `clock`, as tests need it."""


@attrs.frozen(kw_only=True)
class OpenedStorage:
    """A storage and its extra powers; None where it lacks one."""

    storage: Storage
    signed_urls: SignedUrls | None = None
    local_files: LocalFiles | None = None
    gate: StoreGate | None = None
    """Where the API itself serves the signed URLs."""
    multipart: MultipartUploads | None = None


@attrs.frozen(kw_only=True)
class OpenedMetadata:
    """A metadata store."""

    assets: AssetStore
    jobs: JobStore
    close: Callable[[], None]
    accounts: RemoteAccounts | None = None
    """What is known of accounts at outside services; without it, no job can use one."""
    backend: object = None
    """The adapter's own handle, which a queue of the same technology may share."""
    check: Callable[[], str] = lambda: "ok"
    """Looks at its integrity; returns a sentence, raises `MusProjError` where something is wrong."""
    check_writable: Callable[[], None] = lambda: None
    """Raises `UnavailableError` where reads may work but a write would be refused; cheap enough for every few seconds."""
    examine: Callable[[], Iterable[Finding]] = tuple
    """Looks at how its server is set up, where it has one."""


@attrs.frozen(kw_only=True)
class ServiceContext:
    """What an outside service's adapter may need of the installation."""

    name: str
    key: str = attrs.field(repr=False)
    """The account's key; empty where a described service needs none."""
    url: str = ""
    """Another address than the service's own."""
    private_hosts: frozenset[str] = frozenset()
    """`host:port` that may be private, and plain http."""
    result_hosts: tuple[str, ...] = ()
    """Where results may lie beside the service's own hosts: names, and `*.` with a suffix."""
    prefix: str = "musproj"
    """Of the names of our objects there."""
    takes_urls: bool = False
    """Inputs may go as a signed URL."""


class ServiceProfile(Protocol):
    """A service that a file describes; what opens it knows the rest."""

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """The service, and the processor that it is."""

    @property
    @abstractmethod
    def key_file(self) -> Path | None:
        """Where its key is, unless the settings have one; None where it needs none."""


class ServicePlugin(Protocol):
    """Opens an account at an outside service; its name in the group `musproj.services` is the service's."""

    @abstractmethod
    def __call__(self, context: ServiceContext) -> RemoteService:
        """Open it; nothing is called yet.

        Raises:
            ConfigurationError: key or address is wrong.
        """


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
