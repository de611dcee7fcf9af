"""Picks the encoder."""

from pathlib import Path

from musproj.processors._encoder import Encoder


def open_encoder(
    path: Path,
    *,
    subtype: str | None,
    sample_rate: int,
    channels: int,
    frames: int | None,
    speakers: tuple[str, ...] | None,
    dither_seed: int | None,
) -> Encoder:
    """Return the encoder of the container that the extension of `path` names.

    Raises:
        EncodeUnsupportedError: the codec cannot take this rate or channel count.
        UnsupportedFormatError: no such container or subtype.
        MissingExtraError: the extra `audio` is needed.
    """
    if path.suffix.lower() == ".wav":
        from musproj.processors._encode_wav import WavEncoder

        return WavEncoder(
            path,
            subtype=subtype or "PCM_24",
            sample_rate=sample_rate,
            channels=channels,
            frames=frames,
            speakers=speakers,
            dither_seed=dither_seed,
        )
    from musproj.processors._encode_soundfile import SoundFileEncoder

    return SoundFileEncoder(path, subtype=subtype, sample_rate=sample_rate, channels=channels, dither_seed=dither_seed)
