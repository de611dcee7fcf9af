"""`analyze`: its result, whose keys are public."""

import numpy as np
import pytest

from musproj.errors import AudioTruncatedError, NonFiniteError
from musproj.processors import blocks
from musproj.processors.analyze import AnalyzeParams, analyze
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input

RATE = 48_000
KEYS = {
    "integratedLufs",
    "maxMomentaryLufs",
    "maxShortTermLufs",
    "loudnessRangeLu",
    "truePeakDbtp",
    "samplePeakDbfs",
    "duration",
    "sampleRate",
    "channels",
}


@pytest.fixture
def run(tmp_path):
    """Give a function that analyses samples and returns (result, context)."""

    def run(samples, rate=RATE, subtype="FLOAT", **params):
        ctx = RecordingContext(tmp_path)
        source = as_input(tones.write(tmp_path / "in.wav", np.asarray(samples, np.float32), rate, subtype))
        outcome = analyze.run({"input": source}, AnalyzeParams(**params), ctx)
        assert not outcome.files
        return outcome.data, ctx

    return run


def test_the_documented_keys_are_there(run):
    data, ctx = run(tones.music(5.0, RATE))
    assert set(data) >= KEYS
    assert (data["duration"], data["sampleRate"], data["channels"]) == (5.0, RATE, 2)
    assert data["samplePeakDbfs"] == pytest.approx(-3.0, abs=1e-4)
    assert data["truePeakDbtp"] >= data["samplePeakDbfs"]
    assert data["silent"] is False
    assert ctx.warnings == []


def test_what_silence_does_not_have_is_absent(run):
    data, _ = run(np.zeros((5 * RATE, 2)))
    assert set(data) & KEYS == {"duration", "sampleRate", "channels"}
    assert data["silent"] is True
    assert "leadingSilence" not in data


@pytest.mark.parametrize(
    ("seconds", "absent"),
    [
        (0.399, {"integratedLufs", "maxMomentaryLufs", "maxShortTermLufs", "loudnessRangeLu"}),
        (0.4, {"maxShortTermLufs", "loudnessRangeLu"}),
        (2.99, {"maxShortTermLufs", "loudnessRangeLu"}),
        (3.0, set()),
    ],
)
def test_only_whole_windows_count(run, seconds, absent):
    data, ctx = run(tones.music(seconds, RATE))
    assert KEYS - set(data) == absent
    assert ctx.codes() == (["tooShortForLoudness"] if seconds < 0.4 else [])


def test_levels_are_those_of_the_signal(run):
    tone = tones.sine(1_000.0, -6.0, 1.0, RATE)
    samples = np.stack([tone + 0.1, tone - 0.2], axis=1)
    samples = np.concatenate([np.zeros((4_800, 2)), samples, np.zeros((9_600, 2))])
    data, _ = run(samples)
    assert data["dcOffset"] == pytest.approx([0.1 * 48 / 62.4, -0.2 * 48 / 62.4], abs=1e-5)
    assert data["rmsDbfs"] == pytest.approx(20 * np.log10(np.sqrt(np.mean(samples**2))), abs=1e-3)
    assert data["leadingSilence"] == pytest.approx(0.1, abs=1e-4)
    assert data["trailingSilence"] == pytest.approx(0.2, abs=1e-4)
    assert data["isDualMono"] is False


def test_equal_channels_are_told(run):
    assert run(tones.spread(tones.sine(500.0, -9.0, 1.0, RATE), 2))[0]["isDualMono"] is True
    assert "isDualMono" not in run(tones.music(1.0, RATE, 1))[0]


@pytest.mark.parametrize("at", [0, 100, 65_533, 65_534, 65_535, 65_536, 70_000])
@pytest.mark.parametrize(("length", "runs"), [(1, 0), (2, 0), (3, 1), (10, 1)])
def test_runs_at_full_scale_are_counted_once_wherever_a_block_ends(run, at, length, runs):
    samples = np.full((80_000, 1), 0.5)
    samples[at : at + length] = 1.0
    assert run(samples)[0]["clippedRuns"] == runs


def test_a_run_over_several_blocks_is_one(run):
    assert run(np.ones((3 * 65_536 + 5, 2)))[0]["clippedRuns"] == 2  # one in each channel


def test_the_curve_follows_the_loudness(run):
    data, _ = run(tones.stepped([tones.Step(-20.0, 5.0), tones.Step(-30.0, 5.0), tones.Step(None, 5.0)], RATE), curves=True)
    curve = data["curve"]
    assert (curve["start"], curve["step"], curve["floorLufs"]) == (3.0, 1.0, -70.0)
    values = curve["shortTermLufs"]
    assert len(values) == 13
    assert values[:3] == pytest.approx([-20.0] * 3, abs=0.1)
    assert values[5] == pytest.approx(-30.0, abs=0.1)
    assert values[-1] == -70.0


def test_the_true_peak_is_left_out_where_it_is_not_wanted(run):
    data, _ = run(tones.music(1.0, RATE), true_peak=False)
    assert "truePeakDbtp" not in data
    assert "truePeakMeter" not in data
    assert data["samplePeakDbfs"] == pytest.approx(-3.0, abs=1e-4)


def test_dual_mono_adds_three_decibels(run):
    samples = tones.music(3.0, RATE, 1)
    one, two = (run(samples, dual_mono=dual)[0]["integratedLufs"] for dual in (False, True))
    assert two - one == pytest.approx(10 * np.log10(2), abs=1e-6)


def test_surround_channels_weigh_more_and_the_lfe_nothing(run):
    def loudness(channel):
        samples = np.zeros((2 * RATE, 6))
        samples[:, channel] = tones.sine(1_000.0, -20.0, 2.0, RATE)
        return run(samples)[0].get("integratedLufs")

    assert loudness(3) is None
    assert loudness(4) - loudness(0) == pytest.approx(10 * np.log10(1.41), abs=1e-6)


def test_the_block_size_changes_nothing(run, monkeypatch):
    original = blocks.reader
    results = []
    for size in (4_096, 65_536, 1_000_003):

        def reader(*args, size=size, **options):
            return original(*args, **options, block_frames=size)

        monkeypatch.setattr(blocks, "reader", reader)
        results.append(run(tones.music(8.0, 44_100), 44_100)[0])
    for other in results[1:]:
        assert set(other) == set(results[0])
        for key in KEYS - {"duration", "sampleRate", "channels"}:
            assert other[key] == pytest.approx(results[0][key], abs=1e-5), key


def test_the_strict_ways_of_reading_are_parameters(tmp_path):
    samples = tones.music(1.0)
    samples[0] = np.inf
    path = tmp_path / "damaged"
    path.write_bytes(
        tones.riff(
            tones.chunk(b"fmt ", tones.wav_format(tag=3, bits=32)), tones.chunk(b"data", samples.tobytes(), 2**30)
        )
    )
    inputs = {"input": as_input(path)}
    with pytest.raises(AudioTruncatedError):
        analyze.run(inputs, AnalyzeParams(strict=True), RecordingContext(tmp_path))
    with pytest.raises(NonFiniteError):
        analyze.run(inputs, AnalyzeParams(on_nonfinite="reject"), RecordingContext(tmp_path))
    data = analyze.run(inputs, AnalyzeParams(), RecordingContext(tmp_path)).data
    assert (data["truncated"], data["nonFiniteSamples"]) == (True, 2)
