"""What an adapter must pass, and what stands in for the world in tests.

    clock              FakeClock: stands still until it is told to move
    records            factories of valid assets, versions, jobs, workers
    ledger             the stores of one installation, and short cuts through a job's life
    storage_contract   StorageContract
    multipart          MultipartContract: uploads in parts
    parts              FakeMultipartUploads: takes parts in this process
    metadata           AssetStoreContract
    jobs               JobStoreContract
    queue              JobQueueContract
    machine            LedgerMachine: random histories, compared with the memory adapter

The suites need pytest, the machine Hypothesis; the clock and the records need neither.
"""

import sys

if "pytest" in sys.modules:
    # The suites' asserts then show their values; must happen before the modules are imported.
    import pytest

    _REWRITTEN = (
        "contract",
        "jobs",
        "laws",
        "ledger",
        "machine",
        "metadata",
        "remote",
        "multipart",
        "processors",
        "queue",
        "signed",
        "storage_contract",
        "workers",
    )
    pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _REWRITTEN))
