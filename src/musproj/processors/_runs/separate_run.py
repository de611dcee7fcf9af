"""The run of `separate`: an estimate of the vocals, by signal processing or by a model, and the rest by subtraction."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs
import numpy as np

from musproj.errors import ModelInvalidError
from musproj.ports.processor import Context, InputFile, ModelFile, Outcome
from musproj.processors import blocks
from musproj.processors._dsp.resample import Resampler
from musproj.processors._dsp.vocals import VocalMask
from musproj.processors._formats.decoder import Block, Planar
from musproj.processors._runs.contexts import Quiet
from musproj.processors._runs.measure import planar
from musproj.processors._runs.pairing import in_step, owned
from musproj.processors._runs.segments import Segmented
from musproj.processors._runs.separate_model import VocalModel
from musproj.processors._runs.separate_params import SeparateParams
from musproj.processors.blocks import BLOCK_FRAMES, BlockReader

_OVERLAP_SECONDS = 2.0
_PAIR = 2
"""The first two channels are the front left and right of every layout."""
_ESTIMATED = 0.95
"""Progress when a model has seen everything."""


def run(source: InputFile, params: SeparateParams, ctx: Context) -> Outcome:
    """Do everything."""
    return _Separation(source, params, ctx).outcome()


@attrs.frozen
class _Separation:
    source: InputFile
    params: SeparateParams
    ctx: Context

    def outcome(self) -> Outcome:
        if self.params.model is None:
            with self._reader(self.ctx, (0.0, 1.0)) as source:
                if source.channels == 1:
                    message = "A mono file has no centre; only what does not repeat is taken for vocals."
                    self.ctx.warn("monoSeparation", message)
                return self._write(source, self._by_mask(source), {"mode": "basic", "quality": "basic"})
        file = self._model_file(self.params.model)
        model = VocalModel(file, self.ctx.check)
        vocals = self._by_model(model)
        facts: dict[str, object] = {"mode": "model", "quality": "model", "model": file.name, "modelSha256": file.sha256}
        with (
            self._reader(Quiet(self.ctx), (_ESTIMATED, 1.0)) as source,
            blocks.reader(vocals) as found,
        ):
            pairs = in_step(owned(source), owned(found), source.channels)
            outcome = self._write(source, ((mix.T, part.T) for mix, part in pairs), facts)
        vocals.unlink()
        return outcome

    def _reader(self, ctx: Context, share: tuple[float, float]) -> BlockReader:
        return blocks.reader(
            self.source,
            ctx,
            stage="separate",
            share=share,
            strict=self.params.strict,
            on_nonfinite=self.params.on_nonfinite,
            is_repeat=ctx is not self.ctx,
        )

    def _model_file(self, name: str) -> ModelFile:
        """Return the model.

        Raises:
            ModelInvalidError: there is none of that name, or it has another hash.
        """
        file = self.ctx.model(name)
        wanted = self.params.model_sha256
        if wanted is not None and wanted != file.sha256:
            raise ModelInvalidError(f"The model {file.name!r} has the sha256 {file.sha256}.", model=file.name)
        return file

    def _write(self, source: BlockReader, pairs: Iterable[tuple[Planar, Planar]], facts: dict[str, object]) -> Outcome:
        """Write `(mix, vocals)` as vocals and what is left, both on the grid of their bits: their difference is exact."""
        params = self.params
        step, subtype = np.float32(2.0 ** (1 - params.bits)), f"PCM_{params.bits}"
        files = {name: self.ctx.workdir / f"{name}.{params.format}" for name in ("vocals", "instrumental")}
        energies = np.zeros(2)
        with (
            blocks.writer(files["vocals"], like=source, subtype=subtype) as vocals_sink,
            blocks.writer(files["instrumental"], like=source, subtype=subtype) as rest_sink,
        ):
            for pair in pairs:
                mix, vocals = (np.rint(signal / step) * step for signal in pair)
                energies += [float(np.einsum("cf,cf->", part, part, dtype=np.float64)) for part in (vocals, mix)]
                vocals_sink.write(vocals.T)
                rest_sink.write((mix - vocals).T)
        clipped = vocals_sink.clipped_samples + rest_sink.clipped_samples
        data = {
            **source.facts(),
            **facts,
            "segmentSeconds": params.segment_seconds,
            **({"vocalsEnergyRatio": float(energies[0] / energies[1])} if energies[1] else {}),
            **({"clippedSamples": clipped} if clipped else {}),
        }
        return Outcome(files=files, data=data)

    def _by_mask(self, source: BlockReader) -> Iterator[tuple[Planar, Planar]]:
        """Yield `(mix, vocals)` in blocks; channels beside the front pair hold no vocals."""
        mask = VocalMask(source.sample_rate, self.params.strength, self.ctx.check)

        def estimate(samples: Planar) -> Planar:
            vocals = np.zeros_like(samples)
            vocals[:_PAIR] = mask(samples[:_PAIR])
            return vocals

        segments = self._segments(estimate, source.channels, source.sample_rate)
        for _, block in source:
            for pair in segments.feed(planar(block)):
                yield from _in_blocks(pair)
                del pair  # or it would live on while the next segment takes its memory
        for pair in segments.finish():
            yield from _in_blocks(pair)
            del pair

    def _by_model(self, model: VocalModel) -> Path:
        """Write the vocals as the model finds them, at the rate and in the channels of the source."""
        path = self.ctx.workdir / "estimate.wav"
        shape = model.shape
        with (
            self._reader(self.ctx, (0.0, _ESTIMATED)) as source,
            blocks.writer(path, like=source, subtype="FLOAT") as sink,
        ):
            pair = min(source.channels, _PAIR)
            there = Resampler(source.sample_rate, shape.rate, shape.channels)
            back = Resampler(shape.rate, source.sample_rate, pair)
            segments = self._segments(model, shape.channels, shape.rate, shape.samples)
            for _, block in source:
                for _, vocals in segments.feed(planar(there.feed(_as_channels(block[:, :pair], shape.channels)))):
                    sink.write(_widened(back.feed(_as_channels(vocals.T, pair)), source.channels))
            rest = segments.feed(planar(there.finish()))
            for _, vocals in (*rest, *segments.finish()):
                sink.write(_widened(back.feed(_as_channels(vocals.T, pair)), source.channels))
            last = _widened(back.finish(), source.channels)
            # There and back may round to one more, or of a few frames to none.
            sink.write(last[: max(0, source.frames_read - sink.frames)])
            sink.write(np.zeros((source.frames_read - sink.frames, source.channels), np.float32))
        return path

    def _segments(
        self, work: Callable[[Planar], Planar], channels: int, rate: int, frames: int | None = None
    ) -> Segmented:
        frames = frames or round(self.params.segment_seconds * rate)
        return Segmented(work, channels, frames, min(round(_OVERLAP_SECONDS * rate), frames // 4))


def _in_blocks(pair: tuple[Planar, Planar]) -> Iterator[tuple[Planar, Planar]]:
    mix, vocals = pair
    for at in range(0, mix.shape[1], BLOCK_FRAMES):
        yield mix[:, at : at + BLOCK_FRAMES], vocals[:, at : at + BLOCK_FRAMES]


def _as_channels(block: Block, channels: int) -> Block:
    """Return mono for stereo or the other way round."""
    if block.shape[1] == channels:
        return block
    mono: Block = block.mean(axis=1, keepdims=True, dtype=np.float32)
    return np.repeat(mono, channels, axis=1)


def _widened(block: Block, channels: int) -> Block:
    """Return the front pair with silence beside it."""
    return np.pad(block, ((0, 0), (0, channels - block.shape[1])))
