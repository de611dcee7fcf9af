"""The run of `loop`: look at the whole once, then at the ends of the best loops to the sample, then write the best."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from musproj.errors import LoopNotFoundError
from musproj.ports.processor import Context, InputFile, Outcome
from musproj.processors import blocks
from musproj.processors._dsp.tempo import Tempo, onsets, tempo
from musproj.processors._dsp.timbre import FRAMES_PER_SECOND as FINE_PER_SECOND
from musproj.processors._dsp.timbre import Timbre
from musproj.processors._formats.decoder import Block
from musproj.processors._formats.quantize import dither_seed
from musproj.processors._runs.contexts import Quiet
from musproj.processors._runs.loop_params import LoopParams
from musproj.processors._runs.loop_seam import Seam, Stretch, bounds, crossfaded, refined
from musproj.processors._runs.loop_search import FRAMES_PER_SECOND, Candidate, Search, TimbreFile
from musproj.processors.blocks import BlockReader

_LOOKED, _SEARCHED, _REFINED, _RENDERED = 0.6, 0.75, 0.85, 0.95
_SEAM_WEIGHT = 0.5
_WEAK = 0.5
_BEATS_TOLERANCE = 0.1
_BPM_RANGE = (30.0, 300.0)
_BEATS_SPAN = 0.03


@attrs.frozen(kw_only=True)
class _Heard:
    """What the first pass found."""

    rows: TimbreFile
    onset: NDArray[np.float32]
    tempo: Tempo | None
    rate: int
    frames: int
    facts: dict[str, object]


@attrs.frozen
class _Found:
    """A loop to the sample, counted from the start of the stretch that was searched."""

    candidate: Candidate
    seam: Seam

    @property
    def score(self) -> float:
        return self.candidate.score + _SEAM_WEIGHT * self.seam.correlation


def run(source: InputFile, params: LoopParams, ctx: Context) -> Outcome:
    """Do everything."""
    return _Run(source, params, ctx, Quiet(ctx)).outcome()


@attrs.frozen
class _Run:
    source: InputFile
    params: LoopParams
    ctx: Context
    quiet: Context

    def outcome(self) -> Outcome:
        heard = self._listen()
        found = self._refine(heard, self._search(heard))
        if found.seam.correlation < _WEAK:
            message = "The ends of the loop are not alike; it will be heard."
            self.ctx.warn("weakLoop", message, seamCorrelation=found.seam.correlation)
        turn, crossfade = self._render(heard, found.seam)
        path = self.ctx.workdir / f"loop.{self.params.format}"
        clipped = self._write(turn, path)
        turn.unlink()
        seam = found.seam
        data = {
            **{key: heard.facts[key] for key in ("sampleRate", "channels")},
            "startSample": round(self.params.start * heard.rate) + seam.start,
            "lengthSamples": seam.length,
            "seconds": seam.length / heard.rate,
            "frames": seam.length * self.params.repeat,
            "duration": seam.length * self.params.repeat / heard.rate,
            "repeat": self.params.repeat,
            "similarity": found.candidate.similarity,
            "seamCorrelation": seam.correlation,
            "crossfadeMs": 1_000 * crossfade / heard.rate,
            **_beats(heard.tempo, seam.length / heard.rate),
            **({"clippedSamples": clipped} if clipped else {}),
        }
        odd = ("truncated", "nonFiniteSamples", "outOfRangeSamples")
        return Outcome(
            files={"loop": path}, data={**data, **{key: heard.facts[key] for key in odd if key in heard.facts}}
        )

    def _reader(
        self, ctx: Context, stage: str, share: tuple[float, float], window: tuple[int, int | None]
    ) -> BlockReader:
        return blocks.reader(
            self.source,
            ctx,
            stage=stage,
            share=share,
            start=window[0],
            stop=window[1],
            strict=self.params.strict,
            on_nonfinite=self.params.on_nonfinite,
            is_repeat=ctx is self.quiet,
        )

    def _window(self, rate: int) -> tuple[int, int | None]:
        end = self.params.end
        return round(self.params.start * rate), None if end is None else round(end * rate)

    def _listen(self) -> _Heard:
        with blocks.reader(self.source) as look:
            window = self._window(look.sample_rate)
        rows = TimbreFile(self.ctx.workdir / "timbre")
        rises: list[NDArray[np.float32]] = []
        with self._reader(self.ctx, "listen", (0.0, _LOOKED), window) as source:
            timbre = Timbre(source.sample_rate)
            before = None
            for bands in chain((timbre.feed(block) for _, block in source), (timbre.finish() for _ in (0,))):
                if not len(bands):
                    continue
                rows.append(bands)
                joined = np.concatenate([bands[:1] if before is None else before, bands])
                rises.append(np.clip(np.diff(joined, axis=0), 0, None).sum(axis=1))
                before = bands[-1:].copy()
            onset = onsets(np.concatenate(rises) if rises else np.zeros(0, np.float32))
            return _Heard(
                rows=rows,
                onset=onset[: 2 * rows.rows].reshape(-1, 2).max(axis=1),
                tempo=tempo(onset, FINE_PER_SECOND, self.params.bpm) or self._given_tempo(),
                rate=source.sample_rate,
                frames=source.frames_read,
                facts=source.facts(),
            )

    def _given_tempo(self) -> Tempo | None:
        return None if self.params.bpm is None else Tempo(self.params.bpm, 0.0)

    def _search(self, heard: _Heard) -> Sequence[Candidate]:
        shortest, longest = self._lengths(heard)
        if shortest > longest:
            message = f"What is searched lasts {heard.frames / heard.rate:.2f} s; a loop needs a bit more than its own length."
            raise _not_found(message, duration=heard.frames / heard.rate)
        self.ctx.progress(_LOOKED, "search")
        found = Search(heard.rows, heard.onset, shortest, longest, self.ctx.check).candidates(heard.tempo)
        self.ctx.progress(_SEARCHED, "search")
        return found

    def _lengths(self, heard: _Heard) -> tuple[int, int]:
        """Return the shortest and the longest loop, in rows."""
        low, high = self.params.min_seconds, self.params.max_seconds
        if self.params.beats is not None:
            if heard.tempo is None:
                raise _not_found("No tempo was found, so that beats cannot be counted.")
            wanted = self.params.beats * 60 / heard.tempo.bpm
            low, high = max(low, wanted * (1 - _BEATS_SPAN)), min(high, wanted * (1 + _BEATS_SPAN))
            if low > high:
                message = f"{self.params.beats} beats last {wanted:.2f} s, outside minSeconds to maxSeconds."
                raise _not_found(message, bpm=heard.tempo.bpm, seconds=wanted)
        return (
            max(1, int(np.ceil(low * FRAMES_PER_SECOND))),
            min(int(high * FRAMES_PER_SECOND), heard.rows.rows - 1),
        )

    def _refine(self, heard: _Heard, candidates: Sequence[Candidate]) -> _Found:
        """Return the best loop that lies wholly in the stretch that was searched."""
        places = [(round(one.start * heard.rate), round(one.length * heard.rate)) for one in candidates]
        stretches = self._stretches(heard, [bounds(*place, heard.rate) for place in places])
        found = [
            _Found(candidate, refined(*place, heard.rate, head, tail))
            for candidate, place, (head, tail) in zip(candidates, places, stretches, strict=True)
        ]
        shortest, longest = (
            round(seconds * heard.rate) for seconds in (self.params.min_seconds, self.params.max_seconds)
        )
        fitting = [
            one
            for one in found
            if one.seam.start >= 0
            and one.seam.start + one.seam.length <= heard.frames
            and shortest <= one.seam.length <= longest
        ]
        if not fitting:
            raise _not_found()
        return max(fitting, key=lambda one: one.score)

    def _stretches(
        self, heard: _Heard, wanted: Sequence[tuple[tuple[int, int], tuple[int, int]]]
    ) -> list[tuple[Stretch, Stretch]]:
        """Return the mono samples of pairs of stretches, from one pass."""
        pairs = [tuple(Stretch(begin, np.zeros(end - begin, np.float32)) for begin, end in pair) for pair in wanted]
        everything = [stretch for pair in pairs for stretch in pair]
        origin = self._window(heard.rate)[0]
        # What lies before and behind the part that was searched belongs to the surroundings, too.
        first = max(0, origin + min((one.begin for one in everything), default=0))
        last = origin + max((one.end for one in everything), default=0)
        with self._reader(self.quiet, "refine", (_SEARCHED, _REFINED), (first, last)) as source:
            for at, block in source:
                begin = at - origin
                end = begin + len(block)
                for one in everything:
                    low, high = max(begin, one.begin), min(end, one.end)
                    if low < high:
                        one.part(low, high)[:] = block[low - begin : high - begin].mean(axis=1)
        return [(head, tail) for head, tail in pairs]

    def _render(self, heard: _Heard, seam: Seam) -> tuple[Path, int]:
        """Write one turn; return it with the frames of its crossfade."""
        origin = self._window(heard.rate)[0]
        begin, end = origin + seam.start, origin + seam.start + seam.length
        fade = min(round(self.params.crossfade_ms * heard.rate / 1_000), seam.length // 4)
        at_end = begin >= fade  # the end turns into what leads to the start; else what follows the end into the start
        if not at_end:
            fade = min(fade, origin + heard.frames - end)
        edge = self._excerpt(begin - fade if at_end else end, fade)
        zone = end - fade if at_end else begin
        path = self.ctx.workdir / "turn.wav"
        with (
            self._reader(self.quiet, "render", (_REFINED, _RENDERED), (begin, end)) as source,
            blocks.writer(path, like=source, subtype="FLOAT", frames=seam.length) as sink,
        ):
            for at, block in source:
                low, high = max(at, zone), min(at + len(block), zone + fade)
                if low < high:
                    inner, other = block[low - at : high - at], edge[low - zone : high - zone]
                    pair = (inner, other) if at_end else (other, inner)
                    place = (np.arange(low, high) - zone + 0.5) / fade
                    inner[:] = crossfaded(*pair, place, seam.correlation)
                sink.write(block)
        return path, fade

    def _excerpt(self, begin: int, frames: int) -> Block:
        with blocks.reader(self.source, start=begin, stop=begin + frames, is_repeat=True) as source:
            parts = [block.copy() for _, block in source]
            return np.concatenate([*parts, np.zeros((0, source.channels), np.float32)])

    def _write(self, turn: Path, path: Path) -> int:
        """Write the turns wanted; return the samples that were clipped."""
        seed = dither_seed(self.source, self.params.dither)
        with blocks.reader(turn) as one:
            frames = None if one.frames is None else one.frames * self.params.repeat
            sink = blocks.writer(path, like=one, subtype=f"PCM_{self.params.bits}", frames=frames, dither_seed=seed)
        with sink:
            for number in range(self.params.repeat):
                done = _RENDERED + (1 - _RENDERED) * number / self.params.repeat
                share = (done, _RENDERED + (1 - _RENDERED) * (number + 1) / self.params.repeat)
                with blocks.reader(turn, self.quiet, stage="write", share=share) as source:
                    for _, block in source:
                        sink.write(block)
        return sink.clipped_samples


def _not_found(message: str | None = None, **facts: object) -> LoopNotFoundError:
    return LoopNotFoundError(message, hint="Widen minSeconds and maxSeconds, or leave beats out.", **facts)


def _beats(estimate: Tempo | None, seconds: float) -> dict[str, object]:
    """Return the tempo and the loop's beats; the tempo is exact where the loop is a whole number of them."""
    if estimate is None:
        return {}
    count = seconds * estimate.bpm / 60
    whole = round(count)
    counted = {"beats": whole} if whole and abs(count - whole) <= _BEATS_TOLERANCE else {}
    bpm = 60 * whole / seconds if counted else estimate.bpm
    others = [value for value in (bpm / 2, bpm * 2) if _BPM_RANGE[0] <= value <= _BPM_RANGE[1]]
    return {**counted, "bpm": bpm, "bpmAlternatives": others}
