"""The composition root: the only place that picks adapters and wires them."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

from musproj.adapters.system import SystemClock
from musproj.application.assets import Assets
from musproj.application.gc import Collector
from musproj.application.jobs import Jobs
from musproj.application.outside import Outside
from musproj.application.presets import read_presets
from musproj.application.toml_file import read_toml
from musproj.application.uploads import UploadPolicy, Uploads
from musproj.application.verify import Verifier
from musproj.domain.ledger import Rules
from musproj.ports.clock import Clock
from musproj.ports.plugin import (
    Credentials,
    MetadataPlugin,
    OpenedMetadata,
    OpenedStorage,
    PluginContext,
    QueuePlugin,
    ServiceProfile,
    StoragePlugin,
)
from musproj.ports.processor import AudioInfo, AudioProbe, Processor
from musproj.ports.queue import JobQueue
from musproj.registry import METADATA, PROCESSORS, QUEUE, STORAGE, ProcessorCatalog, load
from musproj.services import ConfiguredServices, outside_of, pairs
from musproj.settings import Settings

log = logging.getLogger(__name__)

PROBE = "musproj.processors.probe:open_probe"
COMMAND = "musproj.processors.command:read_command"
HTTP_SERVICE = "musproj.processors.http_service:read_service"
ECONOMY_TICK = timedelta(seconds=60)
"""The longest time between two looks at the timers where commands are paid for."""


@attrs.frozen(kw_only=True, eq=False)
class MusProj:
    """One opened installation: the use cases and what they stand on.

    Example:
        >>> from musproj import DEFAULT_OWNER, MusProj
        >>> with MusProj.open() as mp:  # doctest: +SKIP
        ...     page = mp.assets.list(DEFAULT_OWNER)
    """

    settings: Settings
    clock: Clock
    catalog: ProcessorCatalog
    opened_storage: OpenedStorage
    metadata: OpenedMetadata
    queue: JobQueue
    probe: AudioProbe
    rules: Rules
    uploads: Uploads
    assets: Assets
    jobs: Jobs
    collector: Collector
    services: ConfiguredServices
    """Accounts at outside services."""
    outside: Outside | None
    """What a run needs to have its work done there."""
    _stack: ExitStack = attrs.field(repr=False, alias="stack")

    @classmethod
    def open(
        cls,
        settings: Settings | None = None,
        *,
        processors: Sequence[Processor] = (),
        clock: Clock | None = None,
        rules: Rules | None = None,
        flags: Mapping[str, object] | None = None,
        is_interactive: bool = False,
    ) -> Self:
        """Open the stores that `settings` (default: environment and `musproj.toml`) name.

        Args:
            settings: Where everything is.
            processors: Processors of the embedding program, beside the installed ones.
            clock: The source of wall time.
            rules: The laws' numbers, where they are not to come from the settings.
            flags: Settings that override every other source, where `settings` is not given.
            is_interactive: Whether somebody waits for each answer, so that a slow store is given up soon.

        Raises:
            ConfigurationError: a setting, a URL or an extra is wrong or missing.
            BackendUnavailableError: a store cannot be opened.
        """
        settings = settings or Settings.load(flags)
        with ExitStack() as stack:
            context = _plugin_context(settings, clock, rules, is_interactive=is_interactive)
            opened = _open_storage(settings.storage_url, context)
            stack.callback(opened.storage.close)
            metadata = _open_metadata(settings.metadata_url, context)
            stack.callback(metadata.close)
            queue = _open_queue(settings.queue_url, context, metadata)
            stack.callback(queue.close)
            probe = open_probe(settings)
            stack.callback(probe.close)
            extra = _extra_processors(settings, processors)
            services = ConfiguredServices(settings, profiles_of(extra))
            stack.callback(services.close)
            catalog = _catalog(settings, extra, services)
            return cls(
                settings=settings,
                clock=context.clock,
                catalog=catalog,
                opened_storage=opened,
                metadata=metadata,
                queue=queue,
                probe=probe,
                rules=context.rules,
                services=services,
                outside=outside_of(settings, services, opened, metadata),
                stack=stack.pop_all(),
                **_use_cases(settings, context.clock, catalog, opened, metadata, probe),
            )
        raise AssertionError  # pragma: no cover - ExitStack swallows nothing

    def close(self) -> None:
        """Close what was opened, in reverse order; a second call does nothing."""
        self._stack.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def open_probe(settings: Settings) -> AudioProbe:
    """Return what looks at audio files; the caller closes it."""
    return _LateProbe(settings)


class _LateProbe(AudioProbe):
    """The probe, imported when it is first asked: most processes and nearly all commands look at no file."""

    __slots__ = ("_lock", "_probe", "_settings")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._probe: AudioProbe | None = None
        self._lock = threading.Lock()

    def probe(self, path: Path) -> AudioInfo:
        with self._lock:
            probe = self._probe = self._probe or self._load()
        return probe.probe(path)

    def _load(self) -> AudioProbe:
        probe: AudioProbe = load("musproj.probe", PROBE)(max_duration_s=self._settings.max_duration_s)
        return probe

    def close(self) -> None:
        with self._lock:
            if self._probe is not None:
                self._probe.close()


def open_catalog(settings: Settings, processors: Sequence[Processor] = ()) -> ProcessorCatalog:
    """Return the processors: those given, those that the settings name, and the installed ones; and the presets.

    Raises:
        ConfigurationError: the presets cannot be read.
        UnknownPluginError: the settings name one that is not there.
    """
    extra = _extra_processors(settings, processors)
    return _catalog(settings, extra, ConfiguredServices(settings, profiles_of(extra)))


def _extra_processors(settings: Settings, processors: Sequence[Processor]) -> tuple[Processor, ...]:
    return (*processors, *(given_processor(target) for target in settings.processors))


def _catalog(settings: Settings, extra: Sequence[Processor], services: ConfiguredServices) -> ProcessorCatalog:
    return ProcessorCatalog(
        extra=extra,
        presets=read_presets(Path(settings.presets)) if settings.presets else {},
        services=services.names(),
        engines=pairs(settings.engines, "engines"),
    )


def profiles_of(processors: Iterable[Processor]) -> list[ServiceProfile]:
    """Return the profiles of those processors whose work a described service does."""
    found = [profile for processor in processors if (profile := getattr(processor, "profile", None)) is not None]
    if not found:
        return []
    from musproj.application.http_profile import HttpProfile

    return [profile for profile in found if isinstance(profile, HttpProfile)]


def given_processor(target: str) -> Processor:
    """Return the processor that `package.module:object`, an installed name, or a TOML file stands for.

    A file describes a program, or, where it has a `base_url`, a service.

    Raises:
        UnknownPluginError: there is none.
        ConfigurationError: the file is wrong, or a library is missing.
    """
    if target.endswith(".toml"):
        is_service = "base_url" in read_toml(Path(target))
        read: Callable[[Path], Processor] = load("musproj.file", HTTP_SERVICE if is_service else COMMAND)
        return read(Path(target))
    found: Processor = load(PROCESSORS, target)
    return found


def _plugin_context(
    settings: Settings, clock: Clock | None, rules: Rules | None, *, is_interactive: bool
) -> PluginContext:
    return PluginContext(
        clock=clock or SystemClock(),
        rules=rules or _rules(settings),
        queue_name=settings.queue_name,
        data=settings.data,
        base_url=settings.base_url,
        max_upload_bytes=settings.max_upload_bytes,
        signing_key=settings.signing_key or None,
        credentials=_credentials(settings),
        redis_prefix=settings.redis_prefix,
        redis_wait_ms=settings.redis_wait_ms,
        is_interactive=is_interactive,
        has_server_time=clock is None,
    )


def _rules(settings: Settings) -> Rules:
    return Rules(
        lease=settings.lease,
        owner_concurrency=settings.owner_concurrency,
        longest_tick=ECONOMY_TICK if settings.economy else None,
    )


def _credentials(settings: Settings) -> Credentials | None:
    if not settings.s3_access_key_id:
        return None
    return Credentials(
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key,
        session_token=settings.s3_session_token or None,
    )


def _scheme(url: str) -> str:
    """Return what chooses the plugin: the URL's scheme up to a `+`."""
    return url.partition(":")[0].partition("+")[0]


def _open_storage(url: str, context: PluginContext) -> OpenedStorage:
    plugin: StoragePlugin = load(STORAGE, _scheme(url))
    return plugin(url, context)


def _open_metadata(url: str, context: PluginContext) -> OpenedMetadata:
    plugin: MetadataPlugin = load(METADATA, _scheme(url))
    return plugin(url, context)


def _open_queue(url: str, context: PluginContext, metadata: OpenedMetadata) -> JobQueue:
    plugin: QueuePlugin = load(QUEUE, _scheme(url))
    return plugin(url, context, metadata)


def _use_cases(
    settings: Settings,
    clock: Clock,
    catalog: ProcessorCatalog,
    opened: OpenedStorage,
    metadata: OpenedMetadata,
    probe: AudioProbe,
) -> dict[str, Any]:
    lifetime = timedelta(seconds=settings.job_expires_s)
    verifier = Verifier(
        storage=opened.storage,
        local_files=opened.local_files,
        probe=probe,
        max_bytes=settings.max_upload_bytes,
        max_duration_s=settings.max_duration_s,
    )
    policy = UploadPolicy(
        max_bytes=settings.max_upload_bytes,
        max_duration_s=settings.max_duration_s,
        url_life=timedelta(seconds=settings.upload_expires_s),
        auto_confirm=settings.auto_confirm,
        multipart_bytes=settings.multipart_bytes,
    )
    return {
        "uploads": Uploads(
            assets=metadata.assets,
            storage=opened.storage,
            signed_urls=opened.signed_urls,
            verifier=verifier,
            catalog=catalog,
            clock=clock,
            policy=policy,
            queue_name=settings.queue_name,
            job_lifetime=lifetime,
            multipart=opened.multipart,
        ),
        "assets": Assets(
            assets=metadata.assets,
            storage=opened.storage,
            signed_urls=opened.signed_urls,
            clock=clock,
            download_life=timedelta(seconds=settings.download_expires_s),
        ),
        "jobs": Jobs(
            jobs=metadata.jobs,
            assets=metadata.assets,
            catalog=catalog,
            clock=clock,
            queue_name=settings.queue_name,
            lifetime=lifetime,
        ),
        "collector": Collector(
            assets=metadata.assets,
            jobs=metadata.jobs,
            storage=opened.storage,
            clock=clock,
            multipart=opened.multipart,
        ),
    }
