"""The embedded adapters behind their schemes, `file:` and `sqlite:`."""

from pathlib import Path

from musproj.adapters.local.accounts import LocalAccounts
from musproj.adapters.local.assets import LocalAssetStore
from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.gate import LocalGate
from musproj.adapters.local.jobs import LocalJobStore
from musproj.adapters.local.queue import LocalJobQueue
from musproj.adapters.local.signing import LocalSigner, SigningKeys, load_or_create_signing_key
from musproj.adapters.local.storage import LocalStorage
from musproj.errors import ConfigurationError
from musproj.ports.plugin import OpenedMetadata, OpenedStorage, PluginContext


def open_storage(url: str, context: PluginContext) -> OpenedStorage:
    """Open a folder, made where it is missing."""
    storage = LocalStorage(_path(url, "file"))
    key = context.signing_key
    keys = SigningKeys.from_secret(key) if key else load_or_create_signing_key(context.data)
    limit = context.max_upload_bytes
    signer = LocalSigner(keys, context.base_url, context.clock, limit)
    return OpenedStorage(
        storage=storage,
        signed_urls=signer,
        local_files=storage,
        gate=LocalGate(storage, signer, context.clock, limit),
    )


def open_metadata(url: str, context: PluginContext) -> OpenedMetadata:
    """Open a database file, made where it is missing."""
    database = LocalDatabase.open(_path(url, "sqlite"), clock=context.clock)
    return OpenedMetadata(
        assets=LocalAssetStore(database, context.clock),
        jobs=LocalJobStore(database, context.clock, context.rules),
        close=database.close,
        accounts=LocalAccounts(database, context.clock),
        backend=database,
        check=database.check,
    )


def open_queue(url: str, context: PluginContext, metadata: OpenedMetadata) -> LocalJobQueue:
    """Open the queue, which is a table of the metadata's database: each step of a job is one transaction there.

    Raises:
        ConfigurationError: the metadata is in another file.
    """
    database = metadata.backend
    path = _path(url, "sqlite")
    if not isinstance(database, LocalDatabase) or database.path.resolve() != path.resolve():
        raise ConfigurationError(
            f"The queue {url!r} must be the file of MUSPROJ_METADATA.", hint="Leave MUSPROJ_QUEUE empty."
        )
    return LocalJobQueue(database, context.clock, context.rules, context.queue_name)


def _path(url: str, scheme: str) -> Path:
    text = url.removeprefix(f"{scheme}:").removeprefix("//")
    if not text:
        raise ConfigurationError(f"{url!r} names no path.", hint=f"Write it like {scheme}:./musproj-data/{scheme}.")
    return Path(text).expanduser()
