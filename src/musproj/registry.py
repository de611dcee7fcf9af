"""Names to objects: the built-in table first, then entry points, then `package.module:object`.

The table comes first because reading entry points is slow; a name that it holds never costs that.
"""

import importlib
import importlib.util
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import attrs

from musproj.application.presets import Preset
from musproj.domain.text import did_you_mean
from musproj.errors import ConfigurationError, MissingExtraError, UnknownJobTypeError, UnknownPluginError
from musproj.ports.processor import ABILITIES, Composite, Processor, ProcessorSpec, processor_need, service_need

log = logging.getLogger(__name__)

STORAGE = "musproj.storage"
METADATA = "musproj.metadata"
QUEUE = "musproj.queue"
PROCESSORS = "musproj.processors"
SERVICES = "musproj.services"

BUILT_IN: Mapping[str, Mapping[str, str]] = {
    STORAGE: {
        "file": "musproj.adapters.local.plugin:open_storage",
        "memory": "musproj.adapters.memory.plugin:open_storage",
        "s3": "musproj.adapters.s3.plugin:open_storage",
        "r2": "musproj.adapters.s3.plugin:open_storage",
    },
    METADATA: {
        "sqlite": "musproj.adapters.local.plugin:open_metadata",
        "memory": "musproj.adapters.memory.plugin:open_metadata",
        "redis": "musproj.adapters.redis.plugin:open_metadata",
        "rediss": "musproj.adapters.redis.plugin:open_metadata",
    },
    QUEUE: {
        "sqlite": "musproj.adapters.local.plugin:open_queue",
        "memory": "musproj.adapters.memory.plugin:open_queue",
        "rq": "musproj.adapters.rq.plugin:open_queue",
    },
    SERVICES: {
        "auphonic": "musproj.adapters.services.plugin:open_auphonic",
        "lalal": "musproj.adapters.services.plugin:open_lalal",
    },
    PROCESSORS: {
        "analyze": "musproj.processors.analyze:analyze",
        "auphonic": "musproj.processors.auphonic:auphonic",
        "chain": "musproj.application.chain:chain",
        "compare": "musproj.processors.compare:compare",
        "denoise": "musproj.processors.denoise:denoise",
        "enhance": "musproj.processors.enhance:enhance",
        "lalal": "musproj.processors.lalal:lalal",
        "loop": "musproj.processors.loop:loop",
        "mix": "musproj.processors.mix:mix",
        "normalize": "musproj.processors.normalize:normalize",
        "resample": "musproj.processors.resample:resample",
        "separate": "musproj.processors.separate:separate",
        "transcode": "musproj.processors.transcode:transcode",
        "trim": "musproj.processors.trim:trim",
        "waveform": "musproj.processors.waveform:waveform",
    },
}
"""Entry-point group → name → `module:object`. Lower layers are named here only as strings."""


@attrs.frozen(kw_only=True)
class Plugin:
    """One name of a group, and what became of loading it."""

    name: str
    target: str
    error: str | None = None
    """Why it does not load; None where it does or was not tried."""


def load(group: str, name: str) -> Any:
    """Return the object that `name` stands for.

    Raises:
        UnknownPluginError: nothing of that name is installed.
        ConfigurationError: it needs a library that is not there.
    """
    target = BUILT_IN.get(group, {}).get(name) or (name if ":" in name else _entry_points(group).get(name))
    if target is None:
        known = names(group)
        hint = did_you_mean(name, known)
        raise UnknownPluginError(f"No {group} plugin {name!r}; installed: {', '.join(known)}.", hint=hint, plugin=name)
    return _resolve(target)


def names(group: str) -> list[str]:
    """Return every installed name of a group, sorted."""
    return sorted({*BUILT_IN.get(group, {}), *_entry_points(group)})


def has(group: str, name: str) -> bool:
    """Tell whether a group has `name`, without reading entry points where the built-in table does."""
    return name in BUILT_IN.get(group, {}) or name in _entry_points(group)


@attrs.define(kw_only=True, slots=False)
class ProcessorCatalog:
    """The processors of this installation; loads each on first use."""

    extra: Sequence[Processor] = ()
    """Given by the embedding program; they win over installed ones of the same name."""
    presets: Mapping[str, Preset] = attrs.field(factory=dict[str, Preset])
    """By name."""
    services: frozenset[str] = frozenset()
    """Outside services that have a key here."""
    engines: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Processor → the engine that it runs with where a job names none."""
    _loaded: dict[str, Processor] = attrs.field(factory=dict[str, Processor], init=False)

    def get(self, name: str) -> Processor:
        """Return the processor of that name.

        Raises:
            UnknownJobTypeError: there is none; the text names the nearest.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def specs(self) -> Sequence[ProcessorSpec]:
        """Return the specs of all that load, by name."""
        return [self._loaded[plugin.name].spec for plugin in self.plugins() if plugin.error is None]

    def runnable(self) -> frozenset[str]:
        """Return the names of those whose libraries are installed here."""
        return frozenset(spec.name for spec in self.specs() if not missing_for(spec))

    def abilities(self) -> frozenset[str]:
        """Return what a job's `needs` may name and this installation has: libraries, and processors for chains."""
        libraries = {need for need, modules in ABILITIES.items() if not missing_modules(modules)}
        services = {service_need(name) for name in self.services}
        return frozenset(libraries | services | {processor_need(name) for name in self.runnable()})

    def plugins(self) -> Sequence[Plugin]:
        """Return every processor with the reason why it does not load, if so."""
        return self._plugins

    @cached_property
    def _plugins(self) -> Sequence[Plugin]:
        return [self._try(name) for name in sorted({*names(PROCESSORS), *(p.spec.name for p in self.extra)})]

    def _try(self, name: str) -> Plugin:
        target = BUILT_IN[PROCESSORS].get(name) or _entry_points(PROCESSORS).get(name, "given by the program")
        try:
            self.get(name)
        except Exception as exc:  # noqa: BLE001 - other people's code fails politely: the rest runs, doctor shows it
            log.warning("Processor %r does not load.", name, extra={"action": "plugin_failed", "plugin": name})
            return Plugin(name=name, target=target, error=f"{type(exc).__name__}: {exc}")
        return Plugin(name=name, target=target)

    def _load(self, name: str) -> Processor:
        for given in self.extra:
            if given.spec.name == name:
                return given
        known = sorted({*names(PROCESSORS), *(given.spec.name for given in self.extra)})
        if name not in known:  # a dotted path too: a job's type comes from a client and must import nothing
            hint = did_you_mean(name, known)
            raise UnknownJobTypeError(f"No processor {name!r}; installed: {', '.join(known)}.", hint=hint, type=name)
        found: Processor = load(PROCESSORS, name)
        compose = getattr(found, "over", None)  # a Composite
        return found if compose is None else cast("Composite", found).over(self.get)


def missing_modules(modules: Iterable[str]) -> list[str]:
    """Return which top-level modules are not installed, without importing any."""
    return [module for module in modules if importlib.util.find_spec(module) is None]


def missing_for(spec: ProcessorSpec) -> list[str]:
    """Return the modules and programs that a processor lacks here."""
    return [*missing_modules(spec.requires), *(name for name in spec.programs if shutil.which(name) is None)]


def require(module: str, extra: str) -> None:
    """Do nothing where `module` is installed.

    Raises:
        MissingExtraError: it is not; the text is the pip line.
    """
    if missing_modules([module]):
        raise MissingExtraError(module, extra)


def _entry_points(group: str) -> dict[str, str]:
    # Imported on use: it costs more than everything else that `import musproj` does.
    from importlib.metadata import entry_points  # noqa: PLC0415

    return {point.name: point.value for point in entry_points(group=group)}


def _resolve(target: str) -> Any:
    module, _, attribute = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as exc:
        if exc.name is not None and f"{module}.".startswith(f"{exc.name}."):
            raise UnknownPluginError(f"No module {module!r}.", plugin=target) from exc
        raise ConfigurationError(
            f"{target!r} needs {exc.name!r}, which is not installed.", plugin=target, library=exc.name
        ) from exc
    except AttributeError as exc:
        raise UnknownPluginError(f"{module!r} has no {attribute!r}.", plugin=target) from exc
    return found
