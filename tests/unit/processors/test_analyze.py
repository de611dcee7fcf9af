"""`analyze`: what its result holds, and what it does not hold where there is nothing to tell."""

import numpy as np
import pytest

from musproj.errors import AudioTruncatedError
from musproj.processors import blocks
from musproj.processors.analyze import AnalyzeParams, analyze
from musproj.testing import tones
from musproj.testing.processors import as_input

RATE = 44_100


@pytest.fixture
def facts(tmp_path, ctx):
    """Give a function that writes samples and returns the result of analysing them."""

    def measure(samples, rate=RATE, **params):
        path = tones.write(tmp_path / "in.wav", samples, rate)
        return analyze.run({"input": as_input(path)}, AnalyzeParams(**params), ctx).data

    return measure


def test_the_result_tells_the_level_and_the_shape(facts, ctx):
    data = facts(tones.stepped([tones.Step(-20.0, 5.0)], RATE))

    assert data["integratedLufs"] == pytest.approx(-20.0, abs=0.1)
    assert data["maxMomentaryLufs"] == pytest.approx(-20.0, abs=0.1)
    assert data["maxShortTermLufs"] == pytest.approx(-20.0, abs=0.1)
    assert data["samplePeakDbfs"] == pytest.approx(-20.0, abs=0.01)
    assert data["truePeakDbtp"] == pytest.approx(-20.0, abs=0.2)
    assert data["rmsDbfs"] == pytest.approx(-23.01, abs=0.01)
    assert (data["duration"], data["frames"], data["sampleRate"], data["channels"]) == (5.0, 5 * RATE, RATE, 2)
    assert data["silent"] is False
    assert data["isDualMono"] is True
    assert ctx.warnings == []


def test_silence_has_no_loudness_and_no_peak(facts):
    data = facts(np.zeros((RATE, 2), np.float32))

    assert data["silent"] is True
    assert not {"integratedLufs", "truePeakDbtp", "samplePeakDbfs", "rmsDbfs", "loudnessRangeLu"} & set(data)
    assert "leadingSilence" not in data


def test_below_400_ms_there_is_no_loudness_but_a_peak(facts, ctx):
    data = facts(tones.music(0.3))

    assert ctx.codes() == ["tooShortForLoudness"]
    assert "integratedLufs" not in data
    assert data["samplePeakDbfs"] == pytest.approx(-3.0, abs=0.01)


def test_dual_mono_counts_a_mono_file_twice_and_changes_no_other(facts):
    mono, stereo = tones.music(2.0, channels=1), tones.music(2.0)

    twice = facts(mono, dual_mono=True)["integratedLufs"] - facts(mono)["integratedLufs"]

    assert twice == pytest.approx(10 * np.log10(2), abs=1e-6)
    assert facts(stereo, dual_mono=True) == facts(stereo)


def test_the_lfe_has_no_loudness(facts):
    surround = np.zeros((2 * RATE, 6), np.float32)
    surround[:, 3] = tones.sine(60.0, -6.0, 2.0, RATE)

    assert facts(surround)["silent"] is True


def test_the_curve_begins_at_three_seconds_and_has_a_floor(facts):
    samples = tones.stepped([tones.Step(-20.0, 5.0), tones.Step(None, 5.0)], RATE)

    curve = facts(samples, curves=True, curve_step=1.0)["curve"]

    assert curve["start"] == 3.0
    assert curve["shortTermLufs"][:3] == pytest.approx([-20.0] * 3, abs=0.1)
    assert curve["shortTermLufs"][-1] == curve["floorLufs"]
    assert len(curve["shortTermLufs"]) == 8


def test_the_true_peak_can_be_left_out(facts):
    data = facts(tones.music(1.0), true_peak=False)

    assert "truePeakDbtp" not in data
    assert "truePeakMeter" not in data
    assert data["samplePeakDbfs"] == pytest.approx(-3.0, abs=0.01)


def test_runs_at_full_scale_are_counted_across_blocks(facts):
    samples = np.zeros((200_000, 2), np.float32)
    samples[100:103, 0] = 1.0  # a run
    samples[500:502, 0] = 1.0  # too short
    samples[blocks.BLOCK_FRAMES - 2 : blocks.BLOCK_FRAMES + 5, 1] = -1.0  # one, though cut by the block's end

    assert facts(samples)["clippedRuns"] == 2


def test_silence_at_the_ends_is_told_in_seconds(facts):
    samples = np.zeros((4 * RATE, 2), np.float32)
    samples[RATE : 2 * RATE, 1] = tones.sine(1_000.0, -20.0, 1.0, RATE)

    data = facts(samples)

    assert data["leadingSilence"] == pytest.approx(1.0, abs=0.001)
    assert data["trailingSilence"] == pytest.approx(2.0, abs=0.001)
    assert data["isDualMono"] is False


def test_an_offset_is_told_per_channel(facts):
    samples = tones.music(1.0)
    samples[:, 1] += 0.1

    left, right = facts(samples)["dcOffset"]

    assert right - left == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("block_frames", [4_096, 1_000_003])
def test_the_block_size_changes_no_fact(facts, monkeypatch, block_frames):
    samples = tones.music(8.0)
    reader = blocks.reader
    usual = facts(samples, curves=True)

    monkeypatch.setattr(blocks, "reader", lambda *args, **options: reader(*args, **options, block_frames=block_frames))
    other = facts(samples, curves=True)

    assert set(other) == set(usual)
    for key in ("integratedLufs", "maxMomentaryLufs", "maxShortTermLufs", "loudnessRangeLu", "truePeakDbtp", "rmsDbfs"):
        assert other[key] == pytest.approx(usual[key], abs=1e-4)
    for key in ("clippedRuns", "leadingSilence", "trailingSilence", "samplePeakDbfs", "frames", "isDualMono"):
        assert other[key] == usual[key]


@pytest.mark.parametrize("frames", [1, 2, 65_535, 65_536, 65_537])
def test_any_length_is_analysed(facts, frames):
    assert facts(np.full((frames, 1), 0.1, np.float32))["frames"] == frames


def test_strict_refuses_a_cut_file(tmp_path, ctx):
    path = tones.write(tmp_path / "in.wav", tones.music(1.0), RATE)
    path.write_bytes(path.read_bytes()[:100_000])

    with pytest.raises(AudioTruncatedError):
        analyze.run({"input": as_input(path)}, AnalyzeParams(strict=True), ctx)


def test_the_result_holds_the_keys_of_its_page(tmp_path, ctx, told_keys):
    path = tones.write(tmp_path / "in.wav", tones.music(4.0), 44_100)

    data = analyze.run({"input": as_input(path)}, AnalyzeParams(curves=True), ctx).data

    assert told_keys("analyze") - {"truncated", "nonFiniteSamples", "outOfRangeSamples"} == set(data)
