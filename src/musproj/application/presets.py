"""Named jobs: a processor with parameters that an installation has a name for."""

import difflib
from collections.abc import Mapping

import attrs

from musproj.errors import InvalidError, PresetNotFoundError, Violation


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
        found = presets.get(self.preset)
        if found is None:
            raise not_found(self.preset, presets)
        return found.type, {**found.params, **self.params}


def not_found(name: str, presets: Mapping[str, Preset]) -> PresetNotFoundError:
    """Return the error of a name that there is not, with the nearest that there is."""
    near = difflib.get_close_matches(name, presets, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "MUSPROJ_PRESETS names the file of presets."
    return PresetNotFoundError(f"There is no preset {name!r}.", hint=hint, preset=name)
