"""The tables, and how an older file becomes a present one.

Times are integer milliseconds since the epoch. What is filtered, sorted or unique is a column; what is only read
back is JSON in the form of `musproj.codec`.

A migration expands first: it adds what new code needs and leaves what old code reads, so that processes of both
releases can work on one file; a later release takes the rest away. `PRAGMA user_version` counts the migrations.
"""

import sqlite3

from musproj.errors import ConfigurationError, SchemaTooNewError

APPLICATION_ID = 0x6D757370
"""`musp`, in the file's header (sqlite.org/fileformat.html 1.3.9)."""

_STRICT = "STRICT" if sqlite3.sqlite_version_info >= (3, 37, 0) else ""
_BY_KEY = f"WITHOUT ROWID{', STRICT' if _STRICT else ''}"

_FIRST = (
    f"""
    CREATE TABLE asset(
      id TEXT PRIMARY KEY, owner TEXT NOT NULL, created_at INT NOT NULL, status TEXT NOT NULL, name TEXT,
      latest INT, head INT, head_pinned INT NOT NULL, seq INT NOT NULL, version_count INT NOT NULL,
      revision INT NOT NULL, next_look INT, deleted_at INT, purge_at INT, upload TEXT NOT NULL) {_STRICT}
    """,
    "CREATE INDEX asset_owner ON asset(owner, id)",
    "CREATE INDEX asset_pending ON asset(next_look) WHERE status = 'pending'",
    "CREATE INDEX asset_deleted ON asset(purge_at) WHERE status = 'deleted'",
    # Its rowid is the order of publication. moves_head: where an unpinned head goes. reuse: Provenance.reuse_key.
    f"""
    CREATE TABLE version(
      asset_id TEXT NOT NULL, n INT NOT NULL, owner TEXT NOT NULL, kind TEXT NOT NULL, created_at INT NOT NULL,
      from_version INT, job_id TEXT, moves_head INT NOT NULL, reuse TEXT, files TEXT NOT NULL, provenance TEXT,
      PRIMARY KEY(asset_id, n)) {_STRICT}
    """,
    "CREATE UNIQUE INDEX version_job ON version(job_id) WHERE job_id IS NOT NULL",  # a job makes one version
    "CREATE INDEX version_reuse ON version(owner, reuse) WHERE reuse IS NOT NULL",
    f"""
    CREATE TABLE attachment(
      asset_id TEXT NOT NULL, n INT NOT NULL, name TEXT NOT NULL, object_key TEXT NOT NULL, record TEXT NOT NULL,
      PRIMARY KEY(asset_id, n, name)) {_STRICT}
    """,
    f"""
    CREATE TABLE gc_due(
      asset_id TEXT NOT NULL, n INT NOT NULL, due_at INT NOT NULL, PRIMARY KEY(asset_id, n)) {_BY_KEY}
    """,
    "CREATE INDEX gc_due_at ON gc_due(due_at)",
    # dedupe: Job.dedupe_key. asset_id, input_version: of the first input.
    f"""
    CREATE TABLE job(
      id TEXT PRIMARY KEY, owner TEXT NOT NULL, type TEXT NOT NULL, asset_id TEXT NOT NULL,
      input_version INT NOT NULL, queue TEXT NOT NULL, needs TEXT NOT NULL, priority INT NOT NULL,
      status TEXT NOT NULL, wait_reason TEXT, run_at INT NOT NULL, expires_at INT NOT NULL, lease_until INT,
      token TEXT, worker TEXT, cancel_requested_at INT, progress INT NOT NULL, stage TEXT,
      attempts INT NOT NULL, max_attempts INT NOT NULL, failures INT NOT NULL, crashes INT NOT NULL,
      lost INT NOT NULL, interrupts INT NOT NULL, timeouts INT NOT NULL,
      reserved_version INT, created_version INT, created_at INT NOT NULL, started_at INT, finished_at INT,
      updated_at INT NOT NULL, retry_of TEXT, root_id TEXT NOT NULL, forced INT NOT NULL, dedupe TEXT,
      processor_version TEXT NOT NULL, inputs TEXT NOT NULL, params TEXT NOT NULL, result TEXT, error TEXT,
      history TEXT NOT NULL) {_STRICT}
    """,
    """
    CREATE INDEX job_ready ON job(queue, type, needs, priority, run_at, id, owner, wait_reason)
      WHERE status = 'queued'
    """,
    "CREATE INDEX job_expiry ON job(expires_at) WHERE status = 'queued'",
    "CREATE INDEX job_running ON job(lease_until, type, owner, id) WHERE status = 'running'",
    "CREATE INDEX job_asset ON job(asset_id, id)",
    "CREATE INDEX job_owner ON job(owner, id)",
    "CREATE INDEX job_status ON job(owner, status, id)",
    """
    CREATE UNIQUE INDEX job_dedupe ON job(owner, dedupe)
      WHERE status IN ('queued', 'running') AND dedupe IS NOT NULL
    """,
    # kind: what the key made, `asset` or `job`; target: its id; key: sha256 of the client's.
    f"""
    CREATE TABLE idempotency(
      owner TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, target TEXT NOT NULL, body_hash TEXT NOT NULL,
      expires_at INT NOT NULL, PRIMARY KEY(owner, kind, key)) {_BY_KEY}
    """,
    "CREATE INDEX idempotency_expiry ON idempotency(expires_at)",
    # boot: the kernel that the worker runs under; two containers of one machine share it.
    f"""
    CREATE TABLE worker(
      id TEXT PRIMARY KEY, host TEXT NOT NULL, boot TEXT NOT NULL, pid INT NOT NULL, types TEXT NOT NULL,
      abilities TEXT NOT NULL, concurrency INT NOT NULL, seen_at INT NOT NULL) {_BY_KEY}
    """,
    f"CREATE TABLE timer(name TEXT PRIMARY KEY, at INT NOT NULL) {_BY_KEY}",
    f"PRAGMA application_id = {APPLICATION_ID}",
)

_REMOTE = (
    # remote: RemoteOp, as JSON. Table remote: jobs whose service is to be looked at, by when.
    "ALTER TABLE job ADD COLUMN remote TEXT",
    f"CREATE TABLE remote(job_id TEXT PRIMARY KEY, service TEXT NOT NULL, due INT NOT NULL) {_BY_KEY}",
    "CREATE INDEX remote_due ON remote(due)",
    # What all workers know of an account: `leader`, `budget`, `held`, `pause`, and `spent:<day>:<token>`.
    f"""
    CREATE TABLE account(
      account TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, until INT NOT NULL,
      PRIMARY KEY(account, name)) {_BY_KEY}
    """,
)

MIGRATIONS = (_FIRST, _REMOTE)
CURRENT = len(MIGRATIONS)


def is_current(connection: sqlite3.Connection) -> bool:
    """Tell whether the file has the present schema.

    Raises:
        ConfigurationError: it is another program's.
        SchemaTooNewError: a newer musproj wrote it.
    """
    # Tables first: where they are there, so is the version, however many processes make the file at this moment.
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    version = _pragma(connection, "user_version")
    if tables and (version < 1 or _pragma(connection, "application_id") != APPLICATION_ID):
        raise ConfigurationError("The file is a database of another program.", hint="Name another file.")
    if version > CURRENT:
        raise SchemaTooNewError(
            f"The database has schema {version}; this musproj knows up to {CURRENT}.",
            hint="Upgrade this program; the data is left as it is.",
            schema=version,
        )
    return version == CURRENT


def bring_up(connection: sqlite3.Connection) -> None:
    """Migrate the file, step by step, in the transaction of the caller."""
    if is_current(connection):
        return  # another process was faster
    for steps in MIGRATIONS[_pragma(connection, "user_version") :]:
        for statement in steps:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {CURRENT}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
