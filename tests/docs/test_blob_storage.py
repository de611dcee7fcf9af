import pytest

from examples.blob_storage import BlobStorage
from musproj.testing.storage_contract import StorageContract


class TestBlobStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path):
        storage = BlobStorage(tmp_path / "objects.db")
        yield storage
        storage.close()
