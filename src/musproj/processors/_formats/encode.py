"""Picks the encoder."""

from musproj.processors._formats.encoder import Encoder, Target


def open_encoder(target: Target) -> Encoder:
    """Return the encoder of the container that the target's extension names.

    Raises:
        EncodeUnsupportedError: the codec cannot take this rate or channel count.
        UnsupportedFormatError: no such container or subtype, or the extra `codecs` is needed.
        MissingExtraError: the extra `audio` is needed.
    """
    if target.suffix in (".wav", ".rf64"):
        from musproj.processors._formats.encode_wav import WavEncoder

        return WavEncoder(target)
    if target.suffix == ".m4a":
        from musproj.processors._formats.encode_av import AvEncoder

        return AvEncoder(target)
    from musproj.processors._formats.encode_soundfile import SoundFileEncoder

    return SoundFileEncoder(target)
