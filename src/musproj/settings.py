"""Every setting: the only reader of the environment and of `musproj.toml`.

Flags override the environment, the environment overrides `./musproj.toml`, that overrides
`~/.config/musproj/config.toml`, that overrides the default. Nothing is read at import.
"""

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, cast

import attrs
from attrs.validators import ge, gt, in_, le, matches_re, optional

from musproj.application.toml_file import read_toml
from musproj.errors import ConfigurationError

PREFIX = "MUSPROJ_"
FILE_NAME = "musproj.toml"
USER_FILE = Path("~/.config/musproj/config.toml")
ALIASES: Mapping[str, tuple[str, ...]] = {
    "port": ("PORT",),
    "s3_access_key_id": ("AWS_ACCESS_KEY_ID",),
    "s3_secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "s3_session_token": ("AWS_SESSION_TOKEN",),
}
"""Names found on hosting platforms, read where ours is absent."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Read by numeric libraries when they are imported."""


_PASSWORD = re.compile(r"(://[^/@]*:)[^/@]+(?=@)")
"""In the user information of a URL (RFC 3986, 3.2.1)."""


def _setting(
    default: Any,
    text: str,
    *,
    secret: bool = False,
    validator: Any = None,
) -> Any:
    return attrs.field(default=default, validator=validator, repr=not secret, metadata={"text": text, "secret": secret})


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of one installation."""

    data: Path = _setting(Path("musproj-data"), "Folder of the embedded deployment.")
    storage: str = _setting(
        "",
        "`file:<dir>`, `s3://<bucket>?endpoint=<url>&region=auto`, `r2://<account>/<bucket>` or `memory:`; "
        "default: `objects` in the data folder.",
    )
    metadata: str = _setting(
        "", "`sqlite:<file>`, `redis://…`, `rediss://…` or `memory:`; default: `musproj.db` in the data folder."
    )
    queue: str = _setting(
        "", "`sqlite:<file>`, `rq+redis://…`, `rq+rediss://…` or `memory:`; default: where the metadata is."
    )
    redis_url: str = _setting("", "Metadata and queue on this Redis, `redis://…` or `rediss://…`, in short.")
    redis_prefix: str = _setting("", "What every Redis key of ours begins with; RQ's keys keep their own names.")
    redis_wait_ms: int = _setting(
        0, "How long an acknowledged write waits for one replica, in ms; 0: not at all.", validator=ge(0)
    )
    s3_access_key_id: str = _setting("", "Access key of the bucket.")
    s3_secret_access_key: str = _setting("", "Secret key of the bucket.", secret=True)
    s3_session_token: str = _setting("", "Session token of temporary credentials of the bucket.", secret=True)
    queue_name: str = _setting("audio-jobs", "Name of the queue.")
    host: str = _setting("127.0.0.1", "Address the API binds; another than loopback needs an API key.")
    port: int = _setting(8700, "Port the API binds.", validator=[ge(0), le(65535)])
    public_url: str = _setting("", "URL under which clients reach the API; derived where empty.")
    root_path: str = _setting("", "Path prefix of every route, such as `/audio`.")
    allowed_hosts: tuple[str, ...] = _setting(
        (), "Host names the API answers to; empty: any, but without an API key only this host's own names."
    )
    cors_origins: tuple[str, ...] = _setting((), "Exact origins of browsers that may call the API.")
    api_key: str = _setting("", "Where set, every request needs `Authorization: Bearer <key>`.", secret=True)
    signing_key: str = _setting(
        "", "Key of the embedded store's URLs; made once and kept in the data folder where empty.", secret=True
    )
    max_upload_bytes: int = _setting(4_995 * 1024**2, "Largest upload, in bytes.", validator=gt(0))
    max_duration_s: float = _setting(21_600.0, "Longest audio, in seconds.", validator=gt(0))
    multipart_bytes: int = _setting(
        64 * 1024**2,
        "Uploads over this size, in bytes, may come in parts, where the store takes parts.",
        validator=gt(0),
    )
    upload_expires_s: int = _setting(3_600, "Life of an upload URL, 60 s to 7 days.", validator=[ge(60), le(604_800)])
    download_expires_s: int = _setting(21_600, "Life of a download URL, 1 s to 24 h.", validator=[ge(1), le(86_400)])
    auto_confirm: bool = _setting(default=True, text="Whether the sweep confirms what arrived without a confirm.")
    job_expires_s: int = _setting(604_800, "How long a job may wait before it has failed.", validator=gt(0))
    owner_concurrency: int | None = _setting(
        None, "Running jobs per owner; empty: no limit.", validator=optional(gt(0))
    )
    concurrency: int | None = _setting(
        None, "Jobs a worker runs at once; empty: one per core.", validator=optional(gt(0))
    )
    memory_mb: int | None = _setting(
        None,
        "Memory for the jobs of a worker, in MiB; empty: three quarters of the machine's.",
        validator=optional(gt(0)),
    )
    drain_s: float = _setting(300.0, "How long running jobs may go on after the first SIGTERM.", validator=ge(0))
    lease_s: float = _setting(30.0, "Lease of a running job; a lost worker's job runs again after it.", validator=gt(0))
    economy: bool = _setting(
        default=False,
        text="Whether workers look at the timers once a minute only, where a store's commands are paid for; "
        "a lost worker's job then waits up to 90 s.",
    )
    processors: tuple[str, ...] = _setting(
        (), "Processors beside the installed ones, as `package.module:object`, or commands as `file.toml`."
    )
    presets: str = _setting("", "TOML file of presets: named jobs with their parameters.")
    models: str = _setting("", "Folder of the model files that jobs may name; default: `models` in the data folder.")
    auphonic_key: str = _setting("", "API key of Auphonic, or `file:<path>` of one.", secret=True)
    auphonic_url: str = _setting("", "Another address of Auphonic's API, as that of a fake.")
    service_input: str = _setting(
        "auto",
        "Whether services that can fetch an input get a signed URL of the bucket (`url`) or the file itself (`upload`); "
        "`auto`: a URL where the bucket can be reached from outside.",
        validator=in_(("auto", "url", "upload")),
    )
    lalal_key: str = _setting("", "License key of LALAL.AI, or `file:<path>` of one.", secret=True)
    lalal_url: str = _setting("", "Another address of LALAL.AI's API, as that of a fake.")
    service_keys: tuple[str, ...] = _setting(
        (), "Keys of other services, as `name=key` or `name=file:<path>`.", secret=True
    )
    private_hosts: tuple[str, ...] = _setting(
        (), "Exact `host:port` of services that may have private addresses and plain http: your own, and fakes."
    )
    result_hosts: tuple[str, ...] = _setting((), "Hosts that results may come from beside the services' own.")
    service_prefix: str = _setting(
        "musproj",
        "What the names of our objects at services begin with; installations that share an account differ.",
        validator=matches_re(r"[A-Za-z0-9_-]{1,32}"),
    )
    engines: tuple[str, ...] = _setting((), "Engines of processors, such as `separate=lalal`, where a job names none.")
    budget_per_job: tuple[str, ...] = _setting((), "What one job may cost, such as `lalal=30`, in the service's unit.")
    budget_per_day: tuple[str, ...] = _setting((), "What the jobs of a day (UTC) may cost, such as `auphonic=2.5`.")
    webhook_secret: str = _setting(
        "", "Makes the addresses of webhooks unguessable; where set, services are asked to call us.", secret=True
    )
    remote_poll_s: float = _setting(3.0, "Shortest time between two looks at a service's work, in s.", validator=gt(0))
    isolation: str = _setting("process", "`process`, or `inline` for debugging.", validator=in_(("process", "inline")))
    log: str = _setting("warning", "Level of the log on stderr.", validator=in_(("debug", "info", "warning", "error")))

    @classmethod
    def load(cls, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """Read every source in order of precedence.

        Raises:
            ConfigurationError: an unknown name (the text names the nearest) or a bad value.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {name: value for name, (value, _) in collect(flags or {}, environ).items()}
        try:
            return cls(**values)
        except (ValueError, TypeError) as exc:
            raise ConfigurationError(f"A setting is wrong: {exc.args[0]}") from exc

    @property
    def storage_url(self) -> str:
        """The storage, default filled in."""
        return self.storage or f"file:{self.data / 'objects'}"

    @property
    def metadata_url(self) -> str:
        """The metadata store, default filled in."""
        return self.metadata or self.redis_url or f"sqlite:{self.data / 'musproj.db'}"

    @property
    def queue_url(self) -> str:
        """The queue, default filled in."""
        url = self.metadata_url
        return self.queue or (f"rq+{url}" if url.startswith(("redis:", "rediss:")) else url)

    @property
    def models_folder(self) -> Path:
        """The folder of models, default filled in."""
        return Path(self.models) if self.models else self.data / "models"

    @property
    def base_url(self) -> str:
        """The URL that signed URLs begin with, without a trailing slash."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.root_path}"

    @property
    def is_loopback(self) -> bool:
        """Whether the API binds an address that only this host reaches."""
        return self.host in LOOPBACK

    @property
    def lease(self) -> timedelta:
        """The lease as an interval."""
        return timedelta(seconds=self.lease_s)


def _raise(error: ConfigurationError) -> None:
    raise error


def collect(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    refuse: Callable[[ConfigurationError], None] = _raise,
) -> dict[str, tuple[object, str]]:
    """Return each setting that some source gives, with the name of that source.

    Raises:
        ConfigurationError: an unknown name or an unreadable value, unless `refuse` takes it and goes on.
    """
    fields = {field.name: field for field in attrs.fields(Settings)}
    found: dict[str, tuple[object, str]] = {}
    for name, value, source in _given(flags, environ, fields, refuse):
        try:
            found[name] = (_typed(fields[name], value), source)
        except ConfigurationError as exc:
            refuse(exc)
    return found


def examine(
    flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, Sequence[ConfigurationError]]:
    """Return the settings without those that are wrong, and what is wrong with each of these."""
    wrong: list[ConfigurationError] = []
    values: dict[str, Any] = {}
    for name, (value, _) in collect(flags or {}, os.environ if environ is None else environ, wrong.append).items():
        one: dict[str, Any] = {name: value}
        try:
            Settings(**one)
        except (ValueError, TypeError) as exc:
            wrong.append(ConfigurationError(f"A setting is wrong: {exc.args[0]}", setting=name))
        else:
            values[name] = value
    return Settings(**values), wrong


@attrs.frozen(kw_only=True)
class Origin:
    """One setting: its value, and the source that gave it."""

    name: str
    value: Any = attrs.field(repr=False)
    source: str
    """`default`, a file, an environment variable or a flag."""
    is_secret: bool

    @property
    def shown(self) -> str:
        """The value as people write it; of a secret only whether there is one."""
        if self.is_secret:
            return "***" if self.value else ""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        if isinstance(self.value, tuple):
            return ",".join(str(part) for part in cast("tuple[object, ...]", self.value))
        return "" if self.value is None else without_password(str(self.value))


def origins(flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> list[Origin]:
    """Return every setting with its source, in the order of the class.

    Raises:
        ConfigurationError: as `Settings.load`.
    """
    environ = os.environ if environ is None else environ
    settings = Settings.load(flags, environ)
    found = collect(flags or {}, environ)
    return [
        Origin(
            name=field.name,
            value=getattr(settings, field.name),
            source=found[field.name][1] if field.name in found else "default",
            is_secret=field.metadata["secret"],
        )
        for field in attrs.fields(Settings)
    ]


def without_password(text: str) -> str:
    """Return a setting's text with the password of a URL in it masked."""
    return _PASSWORD.sub(r"\1***", text)


def env_name(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def use_one_thread(environ: MutableMapping[str, str] | None = None) -> None:
    """Let numeric libraries that are imported from now on use one thread, unless the user said otherwise."""
    environ = os.environ if environ is None else environ
    for name in THREADS:
        environ.setdefault(name, "1")


def confine(temporary: Path, environ: MutableMapping[str, str] | None = None) -> None:
    """Take what opens the stores out of this process's environment, and point programs it starts at `temporary`."""
    environ = os.environ if environ is None else environ
    aliases = {alias for names in ALIASES.values() for alias in names}
    for name in list(environ):
        if name.startswith((PREFIX, "AWS_")) or name in aliases:
            del environ[name]
    environ["TMPDIR"] = str(temporary)


def _given(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    fields: Mapping[str, object],
    refuse: Callable[[ConfigurationError], None],
) -> Iterator[tuple[str, Any, str]]:
    """Yield name, value and source, the weakest source first."""
    for path in (USER_FILE.expanduser(), Path(FILE_NAME)):
        try:
            given = _from_file(path)
        except ConfigurationError as exc:
            refuse(exc)
            continue
        yield from ((name, value, str(path)) for name, value in given.items() if _is_known(name, fields, path, refuse))
    for name, aliases in ALIASES.items():
        yield from ((name, environ[alias], alias) for alias in aliases if environ.get(alias))
    yield from _from_environ(environ, fields, refuse)
    yield from ((name, value, f"--{name.replace('_', '-')}") for name, value in flags.items() if value is not None)


def _from_file(path: Path) -> dict[str, Any]:
    return read_toml(path) if path.exists() else {}


def _from_environ(
    environ: Mapping[str, str], fields: Mapping[str, object], refuse: Callable[[ConfigurationError], None]
) -> Iterator[tuple[str, str, str]]:
    # Where a value and a file are given, the file counts, whichever comes first in the environment.
    for variable, text in sorted(environ.items(), key=lambda item: item[0].endswith("_FILE")):
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name.endswith("_file") and name.removesuffix("_file") in fields:
            try:
                yield name.removesuffix("_file"), _secret_file(variable, text), variable
            except ConfigurationError as exc:
                refuse(exc)
        elif _is_known(name, fields, "the environment", refuse) and text:
            yield name, text, variable


def _secret_file(variable: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as exc:
        raise ConfigurationError(f"{variable} names {path!r}, which cannot be read: {exc.strerror}") from exc


def _is_known(
    name: str, fields: Mapping[str, object], where: object, refuse: Callable[[ConfigurationError], None]
) -> bool:
    if name in fields:
        return True
    near = difflib.get_close_matches(name, fields, n=1)
    hint = f"Did you mean {env_name(near[0])}?" if near else None
    refuse(ConfigurationError(f"Unknown setting {env_name(name)} in {where}.", hint=hint, setting=name))
    return False


def _typed(field: "attrs.Attribute[Any]", value: Any) -> object:
    kind = str(field.type)
    try:
        return _convert(kind, value)
    except (ValueError, TypeError) as exc:
        shown = "***" if field.metadata["secret"] else repr(value)
        raise ConfigurationError(f"{env_name(field.name)} cannot be {shown}: {exc}", setting=field.name) from exc


def _convert(kind: str, value: Any) -> object:
    if "Path" in kind:
        return Path(value).expanduser()
    if "tuple" in kind:
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(part.strip() for part in parts if part.strip())
    if "bool" in kind:
        return _boolean(value)
    if isinstance(value, bool):
        msg = "a number or text is wanted"
        raise TypeError(msg)
    if "int" in kind:
        return int(value)
    if "float" in kind:
        return float(value)
    return str(value)


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0"):
        return False
    msg = "true or false is wanted"
    raise ValueError(msg)
