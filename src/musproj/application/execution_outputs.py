"""Look at what a processor made before anybody may see it; nothing it says is believed."""

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import attrs

from musproj.application.digests import blocks_of, sha256_of
from musproj.domain import media
from musproj.errors import LimitExceededError, OutputInvalidError, ProcessingError
from musproj.ports.processor import AudioInfo, AudioProbe, Outcome, Port, ProcessorSpec

CONTENT_TYPES = {"json": "application/json", "png": "image/png", "svg": "image/svg+xml", "txt": "text/plain"}
"""Of attachments that are no audio, where their port does not name a type."""


@attrs.frozen(kw_only=True)
class Output:
    """One file that a processor made and that passed."""

    port: Port
    path: Path
    extension: str
    content_type: str
    size_bytes: int
    sha256: str
    info: AudioInfo | None


def check_outputs(
    spec: ProcessorSpec, outcome: Outcome, workdir: Path, probe: AudioProbe, max_bytes: int | None = None
) -> tuple[Output, ...]:
    """Return the outputs in the order of the spec's ports.

    Raises:
        OutputInvalidError: a port is missing or undeclared, or its file is outside `workdir`, no regular file,
            empty, or cannot be decoded.
        LimitExceededError: a file is larger than `max_bytes`.
    """
    undeclared = set(outcome.files) - {port.name for port in spec.outputs}
    if undeclared:
        raise OutputInvalidError(f"{spec.name} made files that it does not declare: {', '.join(sorted(undeclared))}.")
    missing = [port.name for port in spec.outputs if port.required and port.name not in outcome.files]
    if missing:
        raise OutputInvalidError(f"{spec.name} did not make: {', '.join(missing)}.")
    present = [port for port in spec.outputs if port.name in outcome.files]
    if spec.publishes != "result" and not present:
        raise OutputInvalidError(f"{spec.name} made no file.")
    return tuple(_check(port, outcome.files[port.name], workdir, probe, max_bytes) for port in present)


def check_result(outcome: Outcome, warnings: list[dict[str, object]]) -> dict[str, object] | None:
    """Return the job's result, or None where there is nothing to tell.

    Raises:
        OutputInvalidError: it holds something that JSON cannot, or null, NaN or infinity.
    """
    result: dict[str, object] = {**outcome.data, **({"warnings": warnings} if warnings else {})}
    _refuse_null(result, "result")
    try:
        text = json.dumps(result, allow_nan=False, ensure_ascii=False)
        text.encode()  # a lone surrogate has no bytes: no answer could carry it
        copy: dict[str, object] = json.loads(text)
    except (TypeError, ValueError) as exc:
        raise OutputInvalidError(f"The result is no JSON: {exc}") from exc
    return copy or None


def _check(port: Port, path: Path, workdir: Path, probe: AudioProbe, max_bytes: int | None) -> Output:
    size = checked_size(port, path, workdir)
    if max_bytes is not None and size > max_bytes:
        raise LimitExceededError(
            f"The output {port.name} has {size} bytes, this store takes at most {max_bytes} in one piece.",
            hint="Ask for FLAC or for fewer bits.",
            limit="bytes",
            value=size,
            max=max_bytes,
        )
    is_audio = any(kind.startswith("audio/") for kind in port.media_types)
    info = _probe(port, path, probe) if is_audio else None
    sha256 = sha256_of(blocks_of(path))
    with path.open("rb") as source:
        head = source.read(media.SNIFF_BYTES)
    extension = path.suffix.lower().lstrip(".")
    return Output(
        port=port,
        path=path,
        extension=extension,
        content_type=_content_type(port, extension, head),
        size_bytes=size,
        sha256=sha256,
        info=info,
    )


def checked_size(port: Port, path: Path, workdir: Path) -> int:
    """Return the bytes of a file that a processor made.

    Raises:
        OutputInvalidError: it is outside `workdir`, no regular file, or empty.
    """
    try:
        facts = path.lstat()
        is_inside = path.resolve(strict=True).is_relative_to(workdir.resolve(strict=True))
    except OSError as exc:
        raise OutputInvalidError(f"The output {port.name} cannot be read: {exc.strerror}.") from exc
    # A link could name any file of the host, which a download would then hand out.
    if not is_inside or not stat.S_ISREG(facts.st_mode):
        raise OutputInvalidError(f"The output {port.name} is no regular file in the work folder.")
    if facts.st_size == 0:
        raise OutputInvalidError(f"The output {port.name} is empty.")
    return facts.st_size


def _probe(port: Port, path: Path, probe: AudioProbe) -> AudioInfo:
    try:
        info = probe.probe(path)
    except ProcessingError as exc:
        raise OutputInvalidError(f"The output {port.name} is not usable: {exc.message}", reason=exc.code) from exc
    if info.frames == 0:
        raise OutputInvalidError(f"The output {port.name} holds no audio frame.")
    return info


def _content_type(port: Port, extension: str, head: bytes) -> str:
    container = media.sniff(head)
    if container is not None:
        return media.CONTENT_TYPES[container]
    if "*" not in port.media_types[0]:
        return port.media_types[0]
    return CONTENT_TYPES.get(extension, media.OCTET_STREAM)


def _refuse_null(value: object, where: str) -> None:
    if value is None:
        raise OutputInvalidError(f"{where} is null; an absent fact is an absent key.")
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            _refuse_null(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(cast("list[object]", value)):
            _refuse_null(item, f"{where}[{position}]")
