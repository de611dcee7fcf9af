"""AAC, ALAC and Opus in M4A, ADTS and CAF through PyAV (FFmpeg's libraries)."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musproj.errors import AudioCorruptError, UnsupportedFormatError
from musproj.processors._formats.decoder import Block
from musproj.processors._formats.header import SPEAKERS, Header

_DEMUXERS = {"m4a": "mov", "aac": "aac", "caf": "caf"}
_CODECS = frozenset(
    ("aac", "alac", "opus", "mp3", "flac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_f32le", "pcm_f32be")
)
_SLACK = 4_096
"""AAC's priming and padding: up to two packets of 1,024 on each side."""

_MAX_PLANES = 7
"""PyAV 18 counts a frame's planes up to the first null, and behind the eighth there is none: it reads on, and dies."""
_ALAC_BITS = 17
"""Where FFmpeg's extradata, a whole `alac` atom, has the sample size."""
_PCM_24 = "pcm_s24"

_HINT = "pip install 'musproj[codecs]'"


class AvDecoder:
    """Decodes the first audio stream of a file."""

    claim_slack = _SLACK

    def __init__(self, path: Path, container: str, index: Header | None = None) -> None:
        """Open `path` with the demuxer of `container`, and with no other: FFmpeg's guesses can open playlists.

        `index` is what the container's own tables say where they are read here; by them the codec's padding is
        cut, which FFmpeg does for CAF in some releases only, and for ALAC twice.

        Raises:
            UnsupportedFormatError: PyAV is not installed, or another codec.
            AudioCorruptError: FFmpeg cannot open it.
        """
        self._library = _av(container)
        try:
            self._file = self._library.open(
                str(path), format=_DEMUXERS[container], options={"protocol_whitelist": "file"}, metadata_errors="ignore"
            )
        except (self._library.error.FFmpegError, ValueError) as exc:
            raise AudioCorruptError(f"The {container} file cannot be decoded{_why(exc)}.") from exc
        try:
            self._stream = self._open_stream(trimmed=index is None)
            self.header = self._header(container, index.claimed_frames if index else None)
        except BaseException:
            self._file.close()
            raise
        self._surplus = index.priming if index else 0
        self._left = index.claimed_frames if index else None
        self._interleaver: Any = None
        self._frames = self._decode()
        self._rest: NDArray[Any] = np.empty((0, self.header.channels), np.float32)

    def read(self, out: Block) -> int:
        """Fill `out`."""
        done = 0
        while done < len(out):
            if not len(self._rest):
                block = next(self._frames, None)
                if block is None:
                    break
                self._rest = block
            part = self._rest[: len(out) - done]
            self._rest = self._rest[len(part) :]
            _put(part, out[done : done + len(part)])
            done += len(part)
        return done

    def seek(self, frame: int) -> bool:
        """Refuse: only decoding from the start is exact."""
        del frame
        return False

    def close(self) -> None:
        """Close the file."""
        self._frames.close()
        self._file.close()

    def _cut(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Drop what the codec gives before the sound begins, and beyond the frames of the index."""
        skipped = min(self._surplus, len(samples))
        self._surplus -= skipped
        samples = samples[skipped:]
        if self._left is not None:
            samples = samples[: self._left]
            self._left -= len(samples)
        return samples

    def _open_stream(self, *, trimmed: bool) -> Any:
        if not self._file.streams.audio:
            raise UnsupportedFormatError("The file has no audio stream that can be read here")
        stream = self._file.streams.audio[0]
        if stream.codec_context is None or stream.codec_context.name.removesuffix("_fixed") not in _CODECS:
            name = getattr(stream.codec_context, "name", "unknown")
            raise UnsupportedFormatError(f"The codec {name!r} is not read here", codec=name)
        stream.codec_context.thread_count = 1  # parallelism comes from jobs
        if not trimmed:
            stream.codec_context.flags2 |= self._library.codec.context.Flags2.skip_manual
        return stream

    def _header(self, container: str, frames: int | None) -> Header:
        context = self._stream.codec_context
        rate, channels = int(context.sample_rate or 0), int(context.channels or 0)
        if not rate or not channels:
            raise AudioCorruptError("The file tells no sample rate or no channels")
        if frames is None and self._stream.duration and self._stream.time_base:
            frames = round(self._stream.duration * self._stream.time_base * rate)
        names = tuple(channel.name for channel in context.layout.channels)
        lossless = context.name in ("alac", "flac") or context.name.startswith("pcm_s")
        return Header(
            container=container,
            codec=context.name,
            sample_rate=rate,
            channels=channels,
            bits=_bits(context) if lossless and context.format else None,
            frames=frames,
            claimed_frames=frames,
            speakers=names if len(names) == channels and set(names) <= set(SPEAKERS) else None,
        )

    def _packed(self, frame: Any) -> Any:
        """Return `frame` in frames that can be looked into: with channels interleaved where it has too many planes."""
        if not frame.format.is_planar or self.header.channels <= _MAX_PLANES:
            return [frame]
        if self._interleaver is None:
            self._interleaver = self._library.AudioResampler(
                format=frame.format.packed, layout=frame.layout, rate=frame.sample_rate
            )
        return self._interleaver.resample(frame)

    def _decode(self) -> Generator[Any]:
        shape = self.header.sample_rate, self.header.channels
        try:
            for frame in self._file.decode(self._stream):
                if (frame.sample_rate, len(frame.layout.channels)) != shape:
                    raise AudioCorruptError("Sample rate or channels change in the middle of the file")
                for part in self._packed(frame):
                    samples = part.to_ndarray()
                    yield self._cut(samples.T if part.format.is_planar else samples.reshape(-1, shape[1]))
        except self._library.error.FFmpegError as exc:
            raise AudioCorruptError(f"Decoding stopped in the middle of the file{_why(exc)}.") from exc


def _bits(context: Any) -> int:
    """Return the bits that are coded; FFmpeg decodes 20 and 24 of them into 32."""
    extra = context.extradata or b""
    if context.name == "alac" and len(extra) > _ALAC_BITS:
        return extra[_ALAC_BITS]
    return 24 if context.name.startswith(_PCM_24) else int(context.format.bits)


def _why(exc: Exception) -> str:
    """Return FFmpeg's reason without the path that its whole text tells."""
    reason = getattr(exc, "strerror", None)
    return f": {reason}" if reason else ""


def _av(container: str) -> Any:
    try:
        import av
        import av.logging
    except ModuleNotFoundError as exc:
        raise UnsupportedFormatError(
            f"Reading {container} needs the library 'av'. Install it with: {_HINT}", hint=_HINT, extra="codecs"
        ) from exc
    av.logging.set_level(av.logging.PANIC)
    return av


def _put(samples: NDArray[Any], out: Block) -> None:
    """Copy decoded samples of FFmpeg's types, whose integers fill their range, as what `out` holds."""
    if samples.dtype == out.dtype:
        out[:] = samples
    elif samples.dtype.kind == "f":
        out[:] = samples.astype(np.float32)
    elif out.dtype == np.float32:
        scale = 2.0 ** -(8 * samples.dtype.itemsize - 1)
        np.multiply(samples, np.float32(scale), out=out, dtype=np.float32, casting="unsafe")
    elif out.dtype == np.int16:
        out[:] = samples >> 16
    else:
        out[:] = samples.astype(np.int32) << 16
