"""`enhance`: on target and below the ceiling by meters that it does not know, in place, of any size and shape."""

import re
import subprocess
import time
from pathlib import Path

import attrs
import numpy as np
import pytest

from musproj.errors import AudioSilentError, AudioTruncatedError, InvalidParamsError, JobCancelledError, NonFiniteError
from musproj.processors import blocks
from musproj.processors.analyze import AnalyzeParams, analyze
from musproj.processors.enhance import EnhanceParams, enhance
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input, decode

SPEECH = Path("/usr/share/sounds/alsa")
RATE = 44_100


@pytest.fixture
def run(tmp_path):
    """Give a function that enhances samples or a file, and returns outcome, decoded output and context."""
    count = 0

    def run(source, rate=RATE, **params):
        nonlocal count
        count += 1
        workdir = tmp_path / f"run-{count}"
        workdir.mkdir()
        path = source if isinstance(source, Path) else tones.write(tmp_path / f"in-{count}.wav", source, rate)
        ctx = RecordingContext(workdir)
        outcome = enhance.run({"input": as_input(path)}, EnhanceParams(**params), ctx)
        return outcome, decode(outcome.files["enhanced"]), ctx

    return run


def speech():
    """Return recorded speech: English words, one speaker, 48 kHz."""
    files = sorted(SPEECH.glob("[FRS]*.wav"))
    if not files:
        pytest.skip("needs the recordings of alsa-utils")
    return np.concatenate([decode(path) for path in files])


def sparse():
    """Return clicks over a quiet tone: the limiter's hardest work."""
    quiet = tones.spread(tones.sine(300.0, -30.0, 8.0, RATE), 2)
    quiet[:: RATE // 3] = 0.9
    return quiet


# ── target and ceiling ───────────────────────────────────────────────────────────────────────────

MATERIAL = {
    "music": lambda: (tones.music(12.0), RATE),
    "hot music": lambda: (np.clip(tones.music(12.0, seed=4) * 3, -1, 1), RATE),
    "speech": lambda: (speech(), 48_000),
    "speech over music": lambda: (speech() + 0.1 * tones.music(30.0, 48_000, 1)[: len(speech())], 48_000),
}


@pytest.mark.parametrize("target", [-23.0, -16.0, -14.0])
@pytest.mark.parametrize("name", MATERIAL)
def test_target_and_ceiling_hold_by_an_independent_meter(run, libebur128, name, target):
    samples, rate = MATERIAL[name]()

    outcome, output, _ = run(samples, rate, target_lufs=target)
    integrated, _, peak = libebur128(output, rate)

    assert integrated == pytest.approx(target, abs=0.2)
    assert peak <= -1.0
    assert outcome.data["outputLufs"] == pytest.approx(integrated, abs=0.01)
    assert outcome.data["outputTruePeakDbtp"] <= -1.0


def test_ffmpeg_agrees(run, require_tool):
    outcome, _, _ = run(tones.music(12.0), target_lufs=-14.0)
    command = [require_tool("ffmpeg"), "-nostdin", "-i", outcome.files["enhanced"]]

    log = subprocess.run(
        [*command, "-af", "ebur128=peak=true", "-f", "null", "-"], check=True, capture_output=True, text=True
    ).stderr
    summary = log[log.rindex("Summary:") :]

    assert float(re.search(r"I:\s+(-?[\d.]+) LUFS", summary)[1]) == pytest.approx(-14.0, abs=0.2)
    assert float(re.search(r"Peak:\s+(-?[\d.]+) dBFS", summary)[1]) <= -1.0


@pytest.mark.parametrize(("true_peak", "release", "lookahead"), [(-3.0, 0.0, 5.0), (-1.0, 60.0, 1.0), (0.0, 0.0, 20.0)])
def test_the_limiter_obeys_its_parameters(run, libebur128, true_peak, release, lookahead):
    outcome, output, _ = run(
        tones.music(8.0),
        target_lufs=-15.0,
        true_peak_dbtp=true_peak,
        release_db_per_second=release,
        lookahead_ms=lookahead,
    )

    assert libebur128(output, RATE)[2] <= true_peak
    assert outcome.data["outputLufs"] == pytest.approx(-15.0, abs=0.2)


def test_a_target_out_of_reach_is_told_and_the_ceiling_holds(run, libebur128):
    outcome, output, ctx = run(sparse(), target_lufs=-10.0)

    assert "targetNotReached" in ctx.codes()
    assert libebur128(output, RATE)[2] <= -1.0
    assert outcome.data["outputLufs"] < -10.2
    assert outcome.data["maxReductionDb"] <= 10.5


def test_peak_safe_lowers_the_gain_and_never_limits(run):
    source = tones.music(6.0)

    outcome, output, ctx = run(source, target_lufs=-10.0, mode="peakSafe", highpass_hz=0.0, denoise_db=0.0)

    assert "targetNotReached" in ctx.codes()
    assert outcome.data["maxReductionDb"] == outcome.data["limitedFraction"] == 0
    np.testing.assert_allclose(output, source * 10 ** (outcome.data["gainDb"] / 20), atol=2e-7)


def test_without_limiting_it_is_a_plain_gain(run):
    source = tones.music(6.0, peak_dbfs=-20.0)

    outcome, output, _ = run(source, target_lufs=-30.0, highpass_hz=0.0, denoise_db=0.0)

    np.testing.assert_allclose(output, source * 10 ** (outcome.data["gainDb"] / 20), atol=2e-7)
    assert outcome.data["passes"] == 1


# ── length, place, shape ─────────────────────────────────────────────────────────────────────────


def test_nothing_is_delayed(run):
    source = tones.music(6.0)

    _, output, _ = run(source, target_lufs=-14.0)
    spectrum = np.fft.rfft(source[:, 0], 2 * len(source)).conj() * np.fft.rfft(output[:, 0], 2 * len(source))
    spectrum /= np.maximum(np.abs(spectrum), 1e-9)  # whitened: only the place counts, not what repeats in the music

    assert len(output) == len(source)
    assert int(np.argmax(np.fft.irfft(spectrum))) == 0


@pytest.mark.parametrize("frames", [17_640, 65_535, 65_536, 65_537, 131_072])
def test_the_length_is_kept(run, frames):
    _, output, _ = run(tones.music(3.0)[:frames], target_lufs=-12.0)

    assert len(output) == frames


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_channels_and_their_places_are_kept(run, tmp_path, channels):
    source = tones.music(3.0, channels=channels)

    outcome, output, _ = run(source, target_lufs=-14.0, highpass_hz=0.0, denoise_db=0.0)

    assert output.shape == source.shape
    with blocks.reader(tmp_path / "in-1.wav") as before, blocks.reader(outcome.files["enhanced"]) as after:
        assert after.speakers == before.speakers
    for channel in range(channels):
        assert np.corrcoef(source[:, channel], output[:, channel])[0, 1] > 0.95


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 48_000, 96_000, 192_000, 384_000])
def test_every_rate_is_enhanced(run, rate):
    outcome, output, _ = run(tones.music(1.5, rate, 1), rate, target_lufs=-16.0)

    assert len(output) == round(1.5 * rate)
    assert outcome.data["sampleRate"] == rate
    assert outcome.data["outputLufs"] == pytest.approx(-16.0, abs=0.2)
    assert outcome.data["outputTruePeakDbtp"] <= -1.0


@pytest.mark.parametrize("block_frames", [4_096, 1_000_003])
def test_the_block_size_changes_nothing_that_can_be_heard(run, monkeypatch, block_frames):
    source = tones.music(8.0)
    reader = blocks.reader
    _, usual, _ = run(source, target_lufs=-13.0)

    monkeypatch.setattr(blocks, "reader", lambda *args, **options: reader(*args, **options, block_frames=block_frames))
    _, other, _ = run(source, target_lufs=-13.0)

    assert np.abs(usual - other).max() <= 2 * 2.0**-23  # a step of 24 bits


# ── formats ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("container", "bits"), [("wav", 16), ("wav", 24), ("flac", 16), ("flac", 24)])
def test_the_result_has_the_format_that_was_asked_for(run, container, bits):
    outcome, _, _ = run(tones.music(2.0), format=container, bits=bits)

    with blocks.reader(outcome.files["enhanced"]) as source:
        assert source.info.container == container
        assert source.info.bits == bits
    assert outcome.files["enhanced"].name == f"enhanced.{container}"


def test_wav_and_flac_hold_the_same_samples(run):
    source = tones.music(3.0)

    np.testing.assert_array_equal(run(source, format="wav")[1], run(source, format="flac")[1])


def test_dither_repeats_for_the_same_input(run):
    source = tones.music(2.0)
    options = {"bits": 16, "dither": "tpdf"}

    first, second, plain = run(source, **options)[1], run(source, **options)[1], run(source, bits=16)[1]

    np.testing.assert_array_equal(first, second)
    assert 0 < np.abs(first - plain).max() <= 2 * 2.0**-15


def test_nothing_but_the_result_is_left_in_the_work_folder(run):
    _, _, ctx = run(tones.music(4.0), target_lufs=-12.0)

    assert [path.name for path in ctx.workdir.iterdir()] == ["enhanced.wav"]


# ── odd inputs ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((RATE, 2), np.float32),
        tones.spread(tones.sine(1_000.0, -80.0, 1.0, RATE), 2),
        np.ones((10, 2), np.float32) / 2,  # too short for 0.4 s
    ],
    ids=["silence", "below the gate", "ten frames"],
)
def test_what_has_no_loudness_is_refused(run, samples):
    with pytest.raises(AudioSilentError):
        run(samples)


@pytest.mark.parametrize("name", ["impulse", "square", "noise", "hot floats"])
def test_signals_that_break_filters_come_out_finite(run, name):
    random = np.random.default_rng(9)
    samples = {
        "impulse": tones.spread(np.eye(1, RATE, 20_000)[0] + tones.sine(500.0, -40.0, 1.0, RATE), 2),
        "square": tones.spread(np.sign(tones.sine(441.0, 0.0, 1.0, RATE)), 2),
        "noise": random.uniform(-1, 1, (RATE, 2)).astype(np.float32),
        "hot floats": 50 * tones.music(1.0),
    }[name]

    outcome, output, _ = run(samples)

    assert np.isfinite(output).all()
    assert outcome.data["outputTruePeakDbtp"] <= -1.0


def test_a_few_numbers_that_are_none_are_told(run, file):
    samples = tones.music(3.0)
    samples[1_000, 0], samples[2_000, 1] = np.nan, np.inf
    floats = tones.chunk(b"fmt ", tones.wav_format(tag=3, bits=32)), tones.chunk(b"data", samples.tobytes())
    path = file(tones.riff(*floats))

    outcome, output, ctx = run(path)

    assert np.isfinite(output).all()
    assert outcome.data["nonFiniteSamples"] == 2
    assert "nonFinite" in ctx.codes()
    with pytest.raises(NonFiniteError):
        run(path, on_nonfinite="reject")


def test_a_cut_file_is_told_or_refused(run, tmp_path):
    path = tones.write(tmp_path / "whole.wav", tones.music(4.0), RATE, "PCM_16")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    outcome, _, ctx = run(path)

    assert outcome.data["truncated"] is True
    assert ctx.codes() == ["truncated"]
    with pytest.raises(AudioTruncatedError):
        run(path, strict=True)


def test_the_input_measures_are_those_of_analyze(run, tmp_path):
    path = tones.write(tmp_path / "in.wav", tones.music(6.0), RATE, "PCM_24")

    data = run(path)[0].data
    facts = analyze.run({"input": as_input(path)}, AnalyzeParams(), RecordingContext(tmp_path)).data

    assert data["inputLufs"] == facts["integratedLufs"]
    assert data["inputLoudnessRangeLu"] == facts["loudnessRangeLu"]
    assert data["inputTruePeakDbtp"] == facts["truePeakDbtp"]


def test_rumble_is_taken_away_and_nothing_else(run):
    rumble, tone = tones.sine(15.0, -12.0, 6.0, RATE), tones.sine(1_000.0, -12.0, 6.0, RATE)

    outcome, output, _ = run(tones.spread(rumble + tone, 1), highpass_hz=80.0)
    spectrum = np.abs(np.fft.rfft(output[RATE : 5 * RATE, 0] * np.hanning(4 * RATE)))

    assert spectrum[15 * 4] < spectrum[1_000 * 4] * 10 ** (-55 / 20)  # 24 dB an octave below 80 Hz
    assert outcome.data["highpassHz"] == 80.0


@attrs.define
class LateCancel(RecordingContext):
    """Cancels in the stage that it is told."""

    during: str = "render"

    def progress(self, fraction, stage=None):
        if stage == self.during:
            self.cancelled_at = time.monotonic()
            raise JobCancelledError
        RecordingContext.progress(self, fraction, stage)


@pytest.mark.parametrize("stage", ["measure", "render", "verify"])
def test_every_stage_can_be_cancelled_within_a_second(tmp_path, stage):
    path = tones.write(tmp_path / "in.wav", tones.music(10.0), RATE)
    ctx = LateCancel(tmp_path / "work", during=stage)
    ctx.workdir.mkdir()

    with pytest.raises(JobCancelledError):
        enhance.run({"input": as_input(path)}, EnhanceParams(), ctx)

    assert time.monotonic() - ctx.cancelled_at < 1.0


def test_the_result_holds_the_keys_of_its_page(tmp_path, ctx, told_keys):
    path = tones.write(tmp_path / "in.wav", tones.music(4.0), 44_100)

    data = enhance.run({"input": as_input(path)}, EnhanceParams(), ctx).data

    sometimes = {"truncated", "nonFiniteSamples", "outOfRangeSamples", "clippedSamples"}
    assert told_keys("enhance") - sometimes == set(data)


@pytest.mark.parametrize("hz", [1e-3, 0.1, 9.99])
def test_a_high_pass_that_cannot_be_computed_is_refused(hz):
    with pytest.raises(InvalidParamsError, match="10 to 300 Hz"):
        EnhanceParams(highpass_hz=hz)


@pytest.mark.parametrize("rate", [8_000, 384_000])
def test_the_lowest_high_pass_is_sound_at_every_rate(tmp_path, rate):
    path = tones.write(tmp_path / "in.wav", 0.3 + 0.1 * tones.music(1.0, rate, 1), rate)
    ctx = RecordingContext(tmp_path)

    outcome = enhance.run({"input": as_input(path)}, EnhanceParams(highpass_hz=10.0, denoise_db=0.0), ctx)

    assert abs(float(decode(outcome.files["enhanced"])[rate // 2 :].mean())) < 0.01
