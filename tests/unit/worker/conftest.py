import pytest

from musproj.testing.workers import Installation


@pytest.fixture
def installation(tmp_path):
    """An embedded installation with short leases, and nothing left of its processes afterwards."""
    installation = Installation(folder=tmp_path)
    yield installation
    assert installation.leftovers() == []


@pytest.fixture
def mp(installation):
    with installation.opened() as opened:
        yield opened
