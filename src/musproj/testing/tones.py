"""Sounds with known answers, and audio files that lie; needs numpy.

Nothing here is random without a seed: a test that fails once fails again.
"""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from musproj.processors import blocks

Samples = NDArray[Any]
"""(frames, channels), full scale ±1.0."""

KILOHERTZ = 1_000.0
_FADE_SECONDS = 0.05


@attrs.frozen
class Step:
    """A stretch of a stepped tone."""

    dbfs: float | None
    """Peak level of the sine in each channel; None is silence."""
    seconds: float


def sine(hz: float, dbfs: float, seconds: float, rate: int, *, phase_degrees: float = 0.0) -> Samples:
    """Return a mono sine of peak level `dbfs`, float64 (frames,)."""
    time = np.arange(round(seconds * rate)) / rate
    wave: Samples = 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * time + np.deg2rad(phase_degrees))
    return wave


def stepped(steps: Sequence[Step], rate: int, channels: int = 2, hz: float = KILOHERTZ) -> Samples:
    """Return a tone that changes its level, the same in all channels, float32."""
    parts = [
        np.zeros(round(step.seconds * rate)) if step.dbfs is None else sine(hz, step.dbfs, step.seconds, rate)
        for step in steps
    ]
    return spread(np.concatenate(parts), channels)


def spread(mono: Samples, channels: int) -> Samples:
    """Return `mono` in every channel, float32 (frames, channels)."""
    return np.repeat(mono[:, None], channels, axis=1).astype(np.float32)


def faded(samples: Samples, rate: int) -> Samples:
    """Return `samples` with sin² fades of 50 ms: a hard start overshoots between samples, and rightly so."""
    count = round(_FADE_SECONDS * rate)
    ramp = np.sin(np.linspace(0, np.pi / 2, count)) ** 2
    out = np.array(samples, dtype=np.float64)
    out[:count] = (out[:count].T * ramp).T
    out[-count:] = (out[-count:].T * ramp[::-1]).T
    return out.astype(np.float32)


def music(seconds: float, rate: int = 44_100, channels: int = 2, seed: int = 1, *, peak_dbfs: float = -3.0) -> Samples:
    """Return chords, a bass and drums with noise, float32: harmonic, transient and noisy at once."""
    random = np.random.default_rng(seed)
    frames = round(seconds * rate)
    time = np.arange(frames) / rate
    chord = sum(np.sin(2 * np.pi * hz * time + n) for n, hz in enumerate((220.0, 277.2, 329.6, 440.0)))
    bass = np.sin(2 * np.pi * 55.0 * time) * (0.6 + 0.4 * np.sin(2 * np.pi * 0.5 * time))
    beat = np.exp(-12 * (time % 0.5))
    out = np.empty((frames, channels))
    for channel in range(channels):
        noise = random.standard_normal(frames)
        out[:, channel] = 0.2 * chord * (1 + 0.1 * channel) + 0.5 * bass + 0.5 * beat * noise
    out *= 10 ** (peak_dbfs / 20) / max(float(np.abs(out).max()), 1e-9)
    return out.astype(np.float32)


def write(path: Path, samples: Samples, rate: int, subtype: str = "FLOAT") -> Path:
    """Write (frames, channels) to `path` and return it."""
    with blocks.writer(path, sample_rate=rate, channels=samples.shape[1], subtype=subtype) as sink:
        sink.write(samples)
    return path


# ── EBU Tech 3341 and 3342 ───────────────────────────────────────────────────────────────────────


@attrs.frozen(kw_only=True)
class MeterCase:
    """One case of the EBU's tables that can be synthesised."""

    name: str
    signal: Callable[[int], Samples]
    """Sample rate → (frames, channels)."""
    key: str
    """The key of the `analyze` result that is meant."""
    expected: float
    below: float
    above: float


def _loudness(name: str, key: str, expected: float, steps: Sequence[Step], tolerance: float = 0.1) -> MeterCase:
    return MeterCase(
        name=name,
        signal=lambda rate: stepped(steps, rate),
        key=key,
        expected=expected,
        below=tolerance,
        above=tolerance,
    )


def _surround(rate: int) -> Samples:
    """Return case 3341-6: 5.0 without an LFE, in the order L R C Ls Rs."""
    levels = (-28.0, -28.0, -24.0, -30.0, -30.0)
    return np.stack([sine(KILOHERTZ, level, 20.0, rate) for level in levels], axis=1).astype(np.float32)


def _burst(number: int, level: float, seconds: float, gap: float) -> Sequence[Step]:
    return Step(None, number * gap), Step(level, seconds), Step(None, 1.0)


def _peak(number: int, divisor: int, degrees: float, amplitude: float, expected: float) -> MeterCase:
    def signal(rate: int) -> Samples:
        tone = sine(rate / divisor, 20 * np.log10(amplitude), 1.0, rate, phase_degrees=degrees)
        return spread(faded(tone, rate), 2)

    return MeterCase(name=f"3341-{number}", signal=signal, key="truePeakDbtp", expected=expected, below=0.4, above=0.2)


def ebu_cases() -> tuple[MeterCase, ...]:
    """Return the cases of EBU Tech 3341 (1-6, 9-19) and 3342 (1-4); 7, 8 are recordings.

    Signals and tolerances as the test suites of libebur128 and ebur128 (Rust) synthesise them.
    """
    integrated, short, momentary = "integratedLufs", "maxShortTermLufs", "maxMomentaryLufs"
    quiet, usual, hushed = Step(-36.0, 10.0), Step(-23.0, 60.0), Step(-72.0, 10.0)
    cases = [
        _loudness("3341-1", integrated, -23.0, [Step(-23.0, 20.0)]),
        _loudness("3341-2", integrated, -33.0, [Step(-33.0, 20.0)]),
        _loudness("3341-3", integrated, -23.0, [quiet, usual, quiet]),
        _loudness("3341-4", integrated, -23.0, [hushed, quiet, usual, quiet, hushed]),
        _loudness("3341-5", integrated, -23.0, [Step(-26.0, 20.0), Step(-20.0, 20.1), Step(-26.0, 20.0)]),
        MeterCase(name="3341-6", signal=_surround, key=integrated, expected=-23.0, below=0.1, above=0.1),
        _loudness("3341-9", short, -23.0, [Step(-20.0, 1.34), Step(-30.0, 1.66)] * 5),
        _loudness("3341-12", momentary, -23.0, [Step(-20.0, 0.18), Step(-30.0, 0.22)] * 25),
    ]
    for number in range(20):
        rising = -38.0 + number
        cases += [
            _loudness(f"3341-10-{number}", short, -23.0, _burst(number, -23.0, 3.0, 0.15)),
            _loudness(f"3341-11-{number}", short, rising, _burst(number, rising, 3.0, 0.15)),
            _loudness(f"3341-13-{number}", momentary, -23.0, _burst(number, -23.0, 0.4, 0.02)),
            _loudness(f"3341-14-{number}", momentary, rising, _burst(number, rising, 0.4, 0.02)),
        ]
    cases += [
        _peak(15, 4, 0.0, 0.5, -6.0),
        _peak(16, 4, 45.0, 0.5, -6.0),
        _peak(17, 6, 60.0, 0.5, -6.0),
        _peak(18, 8, 67.5, 0.5, -6.0),
        _peak(19, 4, 45.0, 1.41, 3.0),
    ]
    ranges = [(10.0, (-20, -30)), (5.0, (-20, -15)), (20.0, (-40, -20)), (15.0, (-50, -35, -20, -35, -50))]
    cases += [
        _loudness(f"3342-{number}", "loudnessRangeLu", expected, [Step(level, 20.0) for level in levels], 1.0)
        for number, (expected, levels) in enumerate(ranges, 1)
    ]
    return tuple(cases)


# ── files made byte by byte ──────────────────────────────────────────────────────────────────────


def chunk(name: bytes, body: bytes, claimed: int | None = None, *, order: str = "<") -> bytes:
    """Return a RIFF chunk, padded to an even length; `claimed` is the size that it lies about."""
    size = len(body) if claimed is None else claimed
    return name + struct.pack(order + "I", size) + body + b"\0" * (len(body) & 1)


def wav_format(
    tag: int = 1, channels: int = 2, rate: int = 44_100, bits: int = 16, *, align: int | None = None, order: str = "<"
) -> bytes:
    """Return the body of a `fmt ` chunk, with whatever values it is told."""
    align = channels * bits // 8 if align is None else align
    return struct.pack(order + "HHIIHH", tag, channels, rate, (rate * align) & 0xFFFF_FFFF, align & 0xFFFF, bits)


def riff(*chunks: bytes, magic: bytes = b"RIFF", size: int | None = None, order: str = "<") -> bytes:
    """Return a WAV file of `chunks`."""
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack(order + "I", len(body) if size is None else size) + body


def hostile_files() -> dict[str, bytes]:
    """Return files that a reader must refuse with an error of its own or read to a finite end."""
    sound = np.arange(2 * 4_410, dtype="<i2").tobytes()
    fmt, data = chunk(b"fmt ", wav_format()), chunk(b"data", sound)
    nonsense = np.full(8_820, np.nan, "<f4").tobytes()
    return {
        "empty": b"",
        "four bytes": b"RIFF",
        "html": b"<!doctype html><title>404</title>",
        "zeros": bytes(4_096),
        "header only": riff(),
        "no data": riff(fmt),
        "no format": riff(data),
        "short format": riff(chunk(b"fmt ", wav_format()[:10]), data),
        "huge format": riff(chunk(b"fmt ", wav_format(), 0xFFFF_FFF0), data),
        "no frames": riff(fmt, chunk(b"data", b"")),
        "claims 4 GiB": riff(fmt, chunk(b"data", sound, 0xFFFF_FFF0)),
        "no channel": riff(chunk(b"fmt ", wav_format(channels=0, align=4)), data),
        "65535 channels": riff(chunk(b"fmt ", wav_format(channels=65_535)), data),
        "rate 0": riff(chunk(b"fmt ", wav_format(rate=0)), data),
        "rate 4e9": riff(chunk(b"fmt ", wav_format(rate=4_000_000_000)), data),
        "no bits": riff(chunk(b"fmt ", wav_format(bits=0)), data),
        "7 bits": riff(chunk(b"fmt ", wav_format(bits=7)), data),
        "format 999": riff(chunk(b"fmt ", wav_format(tag=999)), data),
        "not numbers": riff(chunk(b"fmt ", wav_format(tag=3, bits=32)), chunk(b"data", nonsense)),
        "flac magic": b"fLaC" + bytes(64),
        "ogg magic": b"OggS" + bytes(64),
        "id3 of 256 MB": b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(64),
        "m4a magic": b"\0\0\0\x20ftypM4A " + bytes(64),
        "caf magic": b"caff\0\1\0\0" + bytes(64),
        "aiff magic": b"FORM\0\0\0\x20AIFF" + bytes(64),
    }
