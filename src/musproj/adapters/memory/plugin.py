"""The memory adapters behind their scheme, `memory:`."""

from musproj.adapters.memory import MemoryAssetStore, MemoryJobQueue, MemoryJobStore, MemoryState, MemoryStorage
from musproj.adapters.memory.accounts import MemoryAccounts
from musproj.errors import ConfigurationError
from musproj.ports.plugin import OpenedMetadata, OpenedStorage, PluginContext


def open_storage(url: str, context: PluginContext) -> OpenedStorage:  # noqa: ARG001 - the plugins' common shape
    """Open a storage that ends with the process."""
    return OpenedStorage(storage=MemoryStorage(context.clock))


def open_metadata(url: str, context: PluginContext) -> OpenedMetadata:  # noqa: ARG001 - the plugins' common shape
    """Open records that end with the process."""
    state = MemoryState()
    return OpenedMetadata(
        assets=MemoryAssetStore(state, context.clock),
        jobs=MemoryJobStore(state, context.clock, context.rules),
        close=lambda: None,
        accounts=MemoryAccounts(state, context.clock),
        backend=state,
    )


def open_queue(url: str, context: PluginContext, metadata: OpenedMetadata) -> MemoryJobQueue:
    """Open the queue of the memory records.

    Raises:
        ConfigurationError: the records are elsewhere.
    """
    if not isinstance(metadata.backend, MemoryState):
        raise ConfigurationError(f"The queue {url!r} goes with MUSPROJ_METADATA=memory: alone.")
    return MemoryJobQueue(metadata.backend, context.clock, context.rules, context.queue_name)
