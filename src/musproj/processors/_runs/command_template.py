"""The arguments of a program with names in braces, which become files and numbers, each within its argument."""

from collections.abc import Mapping, Sequence

import attrs

from musproj.application.processor_file import PLACEHOLDER, as_text


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
        values |= {f"params.{name}": as_text(value) for name, value in params.items()}
        return [PLACEHOLDER.sub(lambda found: values[found[1]], argument) for argument in self.arguments]
