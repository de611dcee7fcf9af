"""Named jobs: a processor with parameters that an installation has a name for."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import attrs

from musproj.application.toml_file import read_toml
from musproj.domain.text import did_you_mean
from musproj.errors import ConfigurationError, InvalidError, PresetNotFoundError, Violation

_NAME = re.compile(r"[a-z0-9_-]{1,32}")
_KINDS = {"type": str, "params": dict, "description": str}


@attrs.frozen(kw_only=True)
class Preset:
    """A type of job and its parameters, under one name."""

    name: str
    type: str
    params: Mapping[str, object] = attrs.field(factory=dict[str, object])
    description: str = ""


@attrs.frozen(kw_only=True)
class Choice:
    """What somebody wants run: a processor, or a preset, with parameters that go before the preset's."""

    type: str = ""
    preset: str | None = None
    params: Mapping[str, object] = attrs.field(factory=dict[str, object])

    def resolved(self, presets: Mapping[str, Preset]) -> tuple[str, Mapping[str, object]]:
        """Return the type and the parameters.

        Raises:
            InvalidError: neither or both were named.
            PresetNotFoundError: there is no such preset; the text names the nearest.
        """
        if bool(self.type) == (self.preset is not None):
            reason = "name either a type or a preset"
            raise InvalidError(violations=(Violation("/type", "conflict" if self.type else "required", reason),))
        if self.preset is None:
            return self.type, self.params
        found = preset_named(self.preset, presets)
        return found.type, {**found.params, **self.params}


def preset_named(name: str, presets: Mapping[str, Preset]) -> Preset:
    """Return the preset of that name.

    Raises:
        PresetNotFoundError: there is none; the text names the nearest.
    """
    if name not in presets:
        hint = did_you_mean(name, presets) or "MUSPROJ_PRESETS names the file of presets."
        raise PresetNotFoundError(f"There is no preset {name!r}.", hint=hint, preset=name)
    return presets[name]


def read_presets(path: Path) -> dict[str, Preset]:
    """Return the presets of a TOML file, a table for each: `type`, `params`, `description`.

    Raises:
        ConfigurationError: the file cannot be read, or holds something else.
    """
    found: dict[str, Preset] = {}
    for name, table in read_toml(path, setting="presets").items():
        if not _NAME.fullmatch(name) or not _is_preset(table):
            hint = 'Write it like: [podcast]  type = "enhance"  params = { targetLufs = -16.0 }'
            raise ConfigurationError(f"The preset {name!r} in {path} is wrong.", hint=hint, setting="presets")
        found[name] = Preset(name=name, **table)
    return found


def _is_preset(table: Any) -> bool:
    return (
        isinstance(table, dict)
        and "type" in table
        and all(
            key in _KINDS and isinstance(value, _KINDS[key]) for key, value in cast("dict[str, Any]", table).items()
        )
    )
