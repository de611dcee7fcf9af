"""The arguments of a program with names in braces, which become files and numbers, each within its argument."""

import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)?)\}", re.IGNORECASE)


def placeholders(arguments: Iterable[str]) -> list[str]:
    """Return the names in braces."""
    return [name for argument in arguments for name in _PLACEHOLDER.findall(argument)]


@attrs.frozen(kw_only=True)
class Template:
    """What to run."""

    program: str
    arguments: tuple[str, ...]
    outputs: Mapping[str, str]
    """Port → name of the file in the work folder."""

    def filled(self, inputs: Mapping[str, str], params: Mapping[str, object]) -> Sequence[str]:
        """Return the arguments; `inputs` are names of files in the work folder by port.

        An argument stays one argument, whatever is put into it, and a file begins with `./`: it is no option.
        """
        values = {port: f"./{name}" for port, name in inputs.items()}
        values |= {f"output.{port}": f"./{name}" for port, name in self.outputs.items()}
        values["output"] = f"./{next(iter(self.outputs.values()))}"
        values |= {f"params.{name}": _text(value) for name, value in params.items()}
        return [_PLACEHOLDER.sub(lambda found: values[found[1]], argument) for argument in self.arguments]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".")  # no exponent: not every program reads one
    return str(value)
