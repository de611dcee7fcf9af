"""Opens the right decoder; needs numpy, and what the container needs."""

from pathlib import Path

from musproj.processors._formats.decode_pcm import PcmDecoder
from musproj.processors._formats.decoder import Decoder
from musproj.processors._formats.header import Header
from musproj.processors._formats.source import (
    THROUGH_SOUNDFILE,
    check_limits,
    container_of_file,
    padding,
    parse_header,
)
from musproj.processors.limits import Limits


def open_decoder(path: Path, limits: Limits) -> Decoder:
    """Return a decoder at the start of `path`, whose header is within `limits`.

    Raises:
        ProcessingError: no audio, damaged, of a codec that cannot be read here, or over a limit.
        MissingExtraError: the extra `audio` is needed.
    """
    container = container_of_file(path)
    header = parse_header(path, container)
    if header is not None:
        check_limits(header, limits)
        if header.region is not None:
            return PcmDecoder(path, header, header.region)
    decoder = _codec(path, container, header)
    try:
        check_limits(decoder.header, limits)
    except BaseException:
        decoder.close()
        raise
    return decoder


def _codec(path: Path, container: str, index: Header | None) -> Decoder:
    if container in THROUGH_SOUNDFILE:
        from musproj.processors._formats.decode_soundfile import SoundFileDecoder

        return SoundFileDecoder(path, container, padding(path) if container == "mp3" else 0)
    from musproj.processors._formats.decode_av import AvDecoder

    return AvDecoder(path, container, index)
