"""Local files: which ones a path stands for, and writing one so that it is there whole or not at all."""

import glob
import os
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from musproj.domain.media import container_of
from musproj.errors import ConflictError, InvalidError, StorageFullError

NO_SPACE = 28
"""errno ENOSPC."""


def audio_files(paths: Iterable[str]) -> list[Path]:
    """Return the files that `paths` stand for, in order, each once: files (not looked at yet), folders, patterns.

    Raises:
        InvalidError: a folder holds no audio, or a pattern matches nothing.
    """
    found = dict.fromkeys(file for path in paths for file in _stands_for(path))
    if not found:
        raise InvalidError("No file is given.")
    return list(found)


def readable(path: Path) -> Path:
    """Return `path`.

    Raises:
        InvalidError: it is no file that can be read.
    """
    if not path.is_file():
        raise InvalidError(f"There is no file {str(path)!r}.")
    if not os.access(path, os.R_OK):
        raise InvalidError(f"{str(path)!r} cannot be read: permission denied.")
    return path


def refuse_existing(path: Path, *, force: bool) -> None:
    """Do nothing where `path` may be written.

    Raises:
        ConflictError: it exists and is not to be replaced.
        InvalidError: its folder is missing.
    """
    if path.exists() and not force:
        raise _taken(path)
    if not path.parent.is_dir():
        raise InvalidError(f"There is no folder {str(path.parent)!r}.")


@contextmanager
def written_whole(path: Path, *, force: bool) -> Generator[IO[bytes]]:
    """Open a file that appears as `path` when the block ends well, and leaves nothing when it does not.

    Raises:
        ConflictError: `path` exists and is not to be replaced.
        InvalidError: it cannot be written.
        StorageFullError: there is no room.
    """
    refuse_existing(path, force=force)
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".musproj-", delete=False) as part:
            try:
                yield part
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).chmod(0o666 & ~_umask())
                publish(Path(part.name), path, force=force)
            finally:
                Path(part.name).unlink(missing_ok=True)
    except OSError as exc:
        raise _told(exc, path) from exc


def publish(part: Path, path: Path, *, force: bool) -> None:
    """Give a finished file its name.

    Raises:
        ConflictError: the name was taken meanwhile.
    """
    if force:
        part.replace(path)
        return
    try:
        os.link(part, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError:
        # A file system without hard links: the window in between is what it offers.
        refuse_existing(path, force=False)
        part.replace(path)


def _stands_for(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        inside = [file for file in sorted(_walk(path)) if container_of(None, file.name)]
        if not inside:
            raise InvalidError(f"The folder {text!r} holds no audio file.")
        return inside
    if not path.exists() and glob.has_magic(text):
        matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207 - Path.glob takes no absolute pattern
        if not matches:
            raise InvalidError(f"No file matches {text!r}.")
        return [file for file in matches if file.is_file()]
    return [path]


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(root, name) for name in names if not name.startswith("."))


def _taken(path: Path) -> ConflictError:
    return ConflictError(f"{str(path)!r} is there already.", hint="--force replaces it.", path=str(path))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _told(error: OSError, path: Path) -> InvalidError | StorageFullError:
    if error.errno == NO_SPACE:
        return StorageFullError(f"There is no room for {str(path)!r}.")
    return InvalidError(f"{str(path)!r} cannot be written: {error.strerror}.")
