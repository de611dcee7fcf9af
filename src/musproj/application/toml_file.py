"""TOML files that an operator writes."""

import tomllib
from pathlib import Path
from typing import Any

from musproj.errors import ConfigurationError


def read_toml(path: Path, *, setting: str | None = None) -> dict[str, Any]:
    """Return the content of `path`; `setting` is the one that named it.

    Raises:
        ConfigurationError: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc}", setting=setting) from exc
