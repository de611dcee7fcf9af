"""The folder passes what every storage must."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from musproj.adapters.local.storage import LocalStorage
from musproj.testing.storage_contract import StorageContract


class TestLocalStorage(StorageContract):
    @pytest.fixture
    def root(self, tmp_path: Path) -> Iterator[Path]:
        """In memory where that is possible: each put asks the disk three times to be done."""
        memory = Path("/dev/shm")
        with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as root:
            yield Path(root) / "objects"

    @pytest.fixture
    def storage(self, root: Path) -> Iterator[LocalStorage]:
        storage = LocalStorage(root)
        yield storage
        storage.close()

    @pytest.fixture
    def reopened(self, root: Path) -> Iterator[Callable[[], LocalStorage]]:
        with ExitStack() as stack:

            def reopen() -> LocalStorage:
                storage = LocalStorage(root)
                stack.callback(storage.close)
                return storage

            yield reopen

    @pytest.fixture
    def cut_off(self, storage: LocalStorage) -> Callable[[], None]:
        """The folder goes away under the store, as a disk does."""
        return storage.close
