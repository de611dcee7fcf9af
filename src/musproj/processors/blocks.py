"""The block reader and writer that every processor shares; third parties may use them too.

    with blocks.reader(inputs["input"], ctx) as src, blocks.writer(out, like=src, subtype="PCM_24") as dst:
        for start, x in src:        # float32 (frames, channels), full scale ±1.0, finite
            dst.write(x * 0.5)

The reader takes care of limits, hostile headers, non-finite samples, warnings, progress and cancellation;
memory does not grow with the duration. The writer counts clipped samples and refuses what is not finite.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

import attrs
import numpy as np

from musproj.errors import AudioCorruptError, AudioEmptyError, AudioTruncatedError, LimitExceededError
from musproj.ports.processor import AudioInfo, Context, InputFile
from musproj.processors._formats.decoder import Block, Decoder
from musproj.processors._formats.encode import open_encoder
from musproj.processors._formats.encoder import Encoder, Target
from musproj.processors._formats.header import DEFAULT_SPEAKERS
from musproj.processors._formats.open import open_decoder
from musproj.processors._formats.sanitize import NonFinite, Sanitizer
from musproj.processors._formats.tags import Cover, Tags
from musproj.processors.limits import DEFAULT_LIMITS, Limits

__all__ = ["BLOCK_FRAMES", "Block", "BlockReader", "BlockWriter", "Cover", "Limits", "Tags", "reader", "writer"]

BLOCK_FRAMES = 65_536
"""Reading is as fast as it gets from here on, and a block of stereo is half a MiB."""

SampleType: TypeAlias = Literal["float32", "int16", "int32"]

_INTEGER_CODECS = frozenset(("flac", "alac", "pcm_ulaw", "pcm_alaw"))


def reader(  # noqa: PLR0913 -- each has a default, and a processor names the two or three it needs
    source: InputFile | Path,
    ctx: Context | None = None,
    *,
    stage: str | None = None,
    share: tuple[float, float] = (0.0, 1.0),
    dtype: SampleType = "float32",
    block_frames: int = BLOCK_FRAMES,
    start: int = 0,
    stop: int | None = None,
    strict: bool = False,
    on_nonfinite: NonFinite = "zero",
    is_repeat: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> "BlockReader":
    """Open an audio file for reading in blocks; close it, or use it as a context manager.

    Args:
        source: The file; nothing but its bytes decides what it is.
        ctx: Takes warnings and progress, and may end the run; None for neither.
        stage: The name under which progress is told.
        share: The part of the run's progress that this pass covers.
        dtype: `float32`; `int16` and `int32` only where `is_integer`, for copies that must be bit-exact.
            Integers fill their range: 24 bits stand at the top of `int32`, and lose 8 of them in `int16`.
        block_frames: Frames per block.
        start: First frame wanted.
        stop: Frame behind the last one wanted.
        strict: Refuse a file that is shorter than its header says.
        on_nonfinite: Put 0 in the place of NaN and infinity, or refuse them; above 1 % they always are refused.
        is_repeat: Whether another pass has judged the samples: what is not finite then becomes 0 without a word.
        limits: Bounds of channels, rate and duration.

    Raises:
        ProcessingError: no audio, damaged, empty, over a limit, or of a codec that is not read here.
        MissingExtraError: the extra `audio` is needed.
        ValueError: integers were asked of a file that holds none.
    """
    path = source.path if isinstance(source, InputFile) else source
    decoder = open_decoder(path, limits)
    try:
        return BlockReader(
            decoder=decoder,
            size_bytes=path.stat().st_size,
            context=ctx,
            progress=_Progress(ctx, stage, *share),
            dtype=dtype,
            block_frames=block_frames,
            window=(start, stop),
            strict=strict,
            sanitizer=Sanitizer(on_nonfinite, judges=not is_repeat),
            limits=limits,
        )
    except BaseException:
        decoder.close()
        raise


def writer(
    path: Path,
    like: "BlockReader | None" = None,
    *,
    subtype: str | None = None,
    sample_rate: int | None = None,
    channels: int | None = None,
    frames: int | None = None,
    dither_seed: int | None = None,
    quality: float = 0.5,
    bitrate_kbps: int | None = None,
    tags: Tags | None = None,
) -> "BlockWriter":
    """Create an audio file, in the container that the name's extension stands for.

    A WAV turns into RF64 by itself where it outgrows 4 GiB. When the `with` block is left by an exception the
    file is removed.

    Args:
        path: `.wav`, `.rf64`, `.flac`, `.aiff`, `.caf`, `.mp3`, `.ogg` (Vorbis), `.opus`, and `.m4a` with `codecs`.
        like: Gives sample rate, channels, layout and expected length where the other arguments do not.
        subtype: libsndfile's name: `PCM_16`, `PCM_24`, `PCM_32`, `FLOAT`, `ALAC_16`, …; `AAC` beside them. The
            container's best if None.
        sample_rate: Hz.
        channels: How many.
        frames: Expected length; a hint.
        dither_seed: Add triangular noise of ±1 step before rounding to integers, reproducibly.
        quality: 0 to 1, for codecs with loss.
        bitrate_kbps: kbit/s for MP3, AAC and Opus, instead of `quality`.
        tags: Texts and a cover, as far as the container takes them.

    Raises:
        EncodeUnsupportedError: the codec cannot take this rate or channel count.
        UnsupportedFormatError: no such container or subtype, or it needs the extra `codecs`.
        MissingExtraError: the extra `audio` is needed.
    """
    rate = sample_rate or (like.sample_rate if like else None)
    count = channels or (like.channels if like else None)
    if rate is None or count is None:
        raise ValueError("a writer needs a sample rate and channels, or a reader to be like")
    speakers = like.speakers if like and like.channels == count else DEFAULT_SPEAKERS.get(count)
    target = Target(
        path=path,
        subtype=subtype,
        sample_rate=rate,
        channels=count,
        frames=frames if frames is not None else (like.frames if like else None),
        speakers=speakers,
        dither_seed=dither_seed,
        quality=quality,
        bitrate_kbps=bitrate_kbps,
        tags=tags or Tags(),
    )
    return BlockWriter(open_encoder(target))


@attrs.define
class _Progress:
    """Maps frames to this pass's share of the run."""

    context: Context | None
    stage: str | None
    begin: float
    end: float

    def tell(self, frames: int, expected: int | None) -> None:
        if self.context is None:
            return
        self.context.check()
        # A header may promise less than comes: the last step belongs to the end of the file.
        done = min(frames / expected, 0.999) if expected else 0.0
        self.context.progress(self.begin + done * (self.end - self.begin), self.stage)

    def finish(self) -> None:
        if self.context is not None:
            self.context.progress(self.end, self.stage)


@attrs.define(kw_only=True)
class BlockReader:
    """Gives an audio file block by block, once; made by `reader`."""

    _decoder: Decoder = attrs.field(alias="decoder")
    _size_bytes: int = attrs.field(alias="size_bytes")
    _context: Context | None = attrs.field(alias="context")
    _progress: _Progress = attrs.field(alias="progress")
    _dtype: SampleType = attrs.field(alias="dtype")
    _block_frames: int = attrs.field(alias="block_frames")
    _window: tuple[int, int | None] = attrs.field(alias="window")
    _strict: bool = attrs.field(alias="strict")
    _sanitizer: Sanitizer = attrs.field(alias="sanitizer")
    _limits: Limits = attrs.field(alias="limits")
    frames_read: int = attrs.field(default=0, init=False)
    """Frames given so far."""
    truncated: bool = attrs.field(default=False, init=False)
    """The file was shorter than its header says; known at the end."""

    def __attrs_post_init__(self) -> None:
        """Refuse at once what is known at once, and pass the header's warnings on."""
        header = self._decoder.header
        if header.frames == 0:
            raise AudioEmptyError
        if self._dtype != "float32" and not self.is_integer:
            raise ValueError(f"{header.codec} holds no integers; read it as float32")
        if header.region is not None:
            self._check_length(header.frames or 0)
        if self._context is not None:
            for note in header.notes:
                self._context.warn(note.code, note.message, **note.facts)

    @property
    def info(self) -> AudioInfo:
        """Facts of the file."""
        return self._decoder.header.info(self._size_bytes)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self._decoder.header.sample_rate

    @property
    def channels(self) -> int:
        """How many."""
        return self._decoder.header.channels

    @property
    def frames(self) -> int | None:
        """Expected frames of the window: a hint for progress, never a size to allocate."""
        start, stop = self._window
        total = self._decoder.header.frames
        ends = [end for end in (total, stop) if end is not None]
        return max(0, min(ends) - start) if ends else None

    @property
    def speakers(self) -> tuple[str, ...] | None:
        """A name such as `FL` or `LFE` per channel; None where neither the file nor a convention tells."""
        return self._decoder.header.speakers or DEFAULT_SPEAKERS.get(self.channels)

    @property
    def is_integer(self) -> bool:
        """The samples are integers, so that `int16` and `int32` are exact copies."""
        header = self._decoder.header
        return header.codec in _INTEGER_CODECS or (header.region is not None and not header.is_float)

    @property
    def non_finite_samples(self) -> int:
        """NaN and infinity met so far, replaced by 0."""
        return self._sanitizer.non_finite

    @property
    def out_of_range_samples(self) -> int:
        """Finite samples beyond ±1e4 met so far, clipped to it."""
        return self._sanitizer.out_of_range

    def __iter__(self) -> Iterator[tuple[int, Block]]:
        """Yield `(first frame, samples)`: full blocks, and a last one that may be shorter.

        The array is reused: copy what you keep beyond the next step.

        Raises:
            ProcessingError: damage, non-finite samples or a limit, met while decoding.
            JobCancelledError: passed through from the context.
        """
        block = np.empty((self._block_frames, self.channels), self._dtype)
        self._go_to_start(block)
        while True:
            got = self._read(block)
            if got:
                self._sanitizer.clean(block[:got], trusted=self.is_integer)
                self._progress.tell(self.frames_read, self.frames)
                yield self._window[0] + self.frames_read - got, block[:got]
            if got < len(block):
                break
        self._finish()

    def facts(self) -> dict[str, object]:
        """Return what belongs into every result: what was read, and what was wrong with it."""
        counts = {"nonFiniteSamples": self.non_finite_samples, "outOfRangeSamples": self.out_of_range_samples}
        return {
            "duration": self.frames_read / self.sample_rate,
            "frames": self.frames_read,
            "sampleRate": self.sample_rate,
            "channels": self.channels,
            **({"truncated": True} if self.truncated else {}),
            **{name: count for name, count in counts.items() if count},
        }

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _go_to_start(self, scratch: Block) -> None:
        start = self._window[0]
        if not start or self._decoder.seek(start):
            return
        while start > 0:
            got = self._decoder.read(scratch[:start])
            if not got:
                return
            start -= got

    def _read(self, block: Block) -> int:
        start, stop = self._window
        wanted = len(block) if stop is None else min(len(block), stop - start - self.frames_read)
        got = self._decoder.read(block[: max(0, wanted)])
        self.frames_read += got
        if got and start + self.frames_read > self._limits.max_frames(self.sample_rate):
            most = self._limits.max_duration_seconds
            raise LimitExceededError(
                f"The file is longer than {most:g} s", limit="duration", value=self.frames_read, max=most
            )
        return got

    def _finish(self) -> None:
        start, stop = self._window
        self._sanitizer.finish(self.frames_read * self.channels, self._context)
        if stop is None and self._decoder.header.region is None:
            self._check_length(start + self.frames_read)
        self._progress.finish()

    def _check_length(self, frames: int) -> None:
        """Compare the frames that are there with those that the header claims."""
        claimed = self._decoder.header.claimed_frames
        if not frames and not self._window[0]:
            raise AudioCorruptError("Nothing of the file could be decoded.") if claimed else AudioEmptyError()
        if claimed is None or frames + self._decoder.claim_slack >= claimed:
            return
        message = f"The header claims {claimed} frames; {frames} are there."
        if self._strict:
            raise AudioTruncatedError(message, claimed=claimed, frames=frames)
        self.truncated = True
        if self._context is not None:
            self._context.warn("truncated", message, claimedFrames=claimed, frames=frames)


class BlockWriter:
    """Takes blocks of audio and makes a file; made by `writer`."""

    def __init__(self, encoder: Encoder) -> None:
        """Own `encoder`."""
        self._encoder = encoder
        self._close: Callable[[], None] | None = encoder.close

    @property
    def frames(self) -> int:
        """Frames written."""
        return self._encoder.frames

    @property
    def clipped_samples(self) -> int:
        """Samples beyond ±1.0 that integer output had to clip."""
        return self._encoder.clipped_samples

    def write(self, block: Block) -> None:
        """Append `block`: float32 (frames, channels), or int16 or int32 that fill their range.

        Raises:
            OutputInvalidError: a sample is not finite, which is the processor's fault.
            StorageFullError: the disk is full.
        """
        self._encoder.write(block)

    def close(self) -> None:
        """Finish the file; again does nothing."""
        if self._close is not None:
            close, self._close = self._close, None
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._close is not None:
            self._close = None
            self._encoder.abort()
        self.close()
