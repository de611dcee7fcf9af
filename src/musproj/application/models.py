"""The models that an operator put beside the processors; nobody else can name another file."""

import stat
from pathlib import Path

import attrs

from musproj.application.digests import blocks_of, sha256_of
from musproj.errors import ModelInvalidError
from musproj.ports.processor import ModelFile


@attrs.frozen
class ModelFolder:
    """Finds models by their file names in one folder."""

    folder: Path | None
    """None: there are no models."""
    takes_paths: bool = False
    """Whether a path outside the folder will do: for who may read every file anyway."""

    def find(self, name: str) -> ModelFile:
        """Return the model of that name.

        Raises:
            ModelInvalidError: it is no plain name, or no regular file.
        """
        try:
            path = None if "\0" in name else self._path(name)
            is_file = path is not None and stat.S_ISREG(path.stat().st_mode)
        except OSError:  # of a name that is too long, too
            path, is_file = None, False
        if path is None or not is_file:
            raise ModelInvalidError(
                f"There is no model {name!r}.",
                hint="Put the file into the folder that MUSPROJ_MODELS names, on every worker.",
                model=name,
            )
        return ModelFile(name=path.name, path=path, sha256=sha256_of(blocks_of(path)))

    def _path(self, name: str) -> Path | None:
        if self.takes_paths and Path(name).is_file():
            return Path(name)
        if self.folder is None or name != Path(name).name or name.startswith("."):
            return None
        return self.folder / name


NO_MODELS = ModelFolder(None)
