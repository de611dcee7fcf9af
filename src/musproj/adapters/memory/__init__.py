"""Everything in this process's memory: for tests and experiments, with all the laws in force."""

from musproj.adapters.memory.assets import MemoryAssetStore
from musproj.adapters.memory.jobs import MemoryJobStore
from musproj.adapters.memory.queue import MemoryJobQueue
from musproj.adapters.memory.state import MemoryState
from musproj.adapters.memory.storage import MemoryStorage

__all__ = ["MemoryAssetStore", "MemoryJobQueue", "MemoryJobStore", "MemoryState", "MemoryStorage"]
