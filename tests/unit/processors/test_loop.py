"""`loop`: where the recording repeats is found to the sample, and the seam is no louder than the music."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from musproj.errors import InvalidParamsError, LoopNotFoundError
from musproj.processors._dsp.tempo import _autocorrelation, onsets, tempo
from musproj.processors._dsp.timbre import BANDS, FRAMES_PER_SECOND, Timbre
from musproj.processors._runs.loop_params import LoopParams
from musproj.processors._runs.loop_seam import crossfaded
from musproj.processors.loop import loop
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input, decode

RATE = 22_050


@pytest.fixture
def looped(tmp_path):
    """Give a function that looks for a loop, and returns samples, facts and context."""
    count = 0

    def looped(sound, rate=RATE, **params):
        nonlocal count
        count += 1
        workdir = tmp_path / f"run-{count}"
        workdir.mkdir()
        ctx = RecordingContext(workdir)
        path = tones.write(tmp_path / f"in-{count}.wav", sound, rate)
        outcome = loop.run({"input": as_input(path)}, LoopParams(**params), ctx)
        return decode(outcome.files["loop"]), outcome.data, ctx

    return looped


def bar(seconds, seed, rate=RATE):
    """Return one bar of four beats, each with a drum and a chord of its own."""
    random = np.random.default_rng(seed)
    beats = []
    for _ in range(4):
        time = np.arange(round(seconds / 4 * rate)) / rate
        hit = np.exp(-18 * time) * random.normal(0, 0.3, len(time))
        chord = sum(np.sin(2 * np.pi * hz * time) for hz in random.choice((220, 262, 330, 392, 440, 523), 3))
        beats.append(0.3 * (hit + 0.1 * chord * np.exp(-3 * time)))
    return np.concatenate(beats)


def song(bar_seconds, order, rate=RATE, channels=1):
    """Return bars as `order` names them; equal letters are equal samples."""
    bars = {name: bar(bar_seconds, ord(name), rate) for name in set(order)}
    return tones.spread(np.concatenate([bars[name] for name in order]), channels)


@pytest.mark.parametrize(("bpm", "order"), [(120, "ABAB" * 6), (97, "ABCD" * 4), (140, "AAAB" * 6)])
def test_an_exact_repetition_is_found_to_the_sample(looped, bpm, order):
    bar_seconds = 240 / bpm
    sound = song(bar_seconds, order)
    bar_samples = 4 * round(bar_seconds / 4 * RATE)

    found, data, ctx = looped(sound, crossfade_ms=0)

    assert data["lengthSamples"] % bar_samples == 0
    assert data["seamCorrelation"] == pytest.approx(1.0, abs=1e-6)
    start, length = data["startSample"], data["lengthSamples"]
    assert np.abs(found - sound[start : start + length]).max() <= 2.0**-23
    assert np.array_equal(sound[start - 50 : start], sound[start + length - 50 : start + length]) or start < 50
    assert "weakLoop" not in ctx.codes()


@pytest.mark.parametrize("bpm", [72, 97, 120, 133, 174])
def test_the_tempo_is_right_up_to_its_octave(looped, bpm):
    _, data, _ = looped(song(240 / bpm, "ABAC" * 5))

    octave = np.log2(data["bpm"] / bpm)
    assert abs(octave - round(octave)) < 0.01
    assert data["bpmAlternatives"] == [value for value in (data["bpm"] / 2, data["bpm"] * 2) if 30 <= value <= 300]


def test_a_given_tempo_and_beats_are_kept(looped):
    found, data, _ = looped(song(2.0, "ABAC" * 6), bpm=121.0, beats=8)

    assert data["beats"] == 8
    assert data["bpm"] == pytest.approx(120.0, abs=0.5)
    assert len(found) == 4 * RATE


@pytest.mark.parametrize("crossfade_ms", [0.0, 10.0, 100.0])
def test_no_jump_is_heard_at_the_seam(looped, crossfade_ms):
    sound = tones.music(24.0, RATE, 1)

    found, data, _ = looped(sound, crossfade_ms=crossfade_ms, repeat=4)

    steps = np.abs(np.diff(found[:, 0]))
    length = data["lengthSamples"]
    seams = steps[[length * turn - 1 for turn in (1, 2, 3)]]
    assert len(found) == 4 * length == data["frames"]
    assert (seams <= np.percentile(steps, 99.9)).all()


def test_turns_are_equal(looped):
    found, data, _ = looped(tones.music(10.0, RATE), repeat=3)

    turns = found.reshape(3, data["lengthSamples"], 2)
    assert np.array_equal(turns[0], turns[1])
    assert np.array_equal(turns[0], turns[2])


def test_the_crossfade_leads_into_the_start(looped):
    sound = tones.music(12.0, RATE, 1)

    found, data, _ = looped(sound, crossfade_ms=50.0)

    start, length, fade = data["startSample"], data["lengthSamples"], round(0.05 * RATE)
    assert start > fade
    assert np.abs(found[:-fade] - sound[start : start + length - fade]).max() <= 2.0**-23
    assert found[-1, 0] == pytest.approx(sound[start - 1, 0], abs=0.01)


def test_a_loop_at_the_very_start_takes_what_follows_its_end(looped):
    sound = song(2.0, "AAAAAA")

    found, data, _ = looped(sound, end=6.5, min_seconds=5.0, max_seconds=6.3, crossfade_ms=200.0)

    assert data["seamCorrelation"] > 0.99
    assert data["crossfadeMs"] <= 200.0
    assert len(found) == data["lengthSamples"]


def test_only_the_stretch_that_was_named_is_searched(looped):
    _, data, _ = looped(song(2.0, "ABAC" * 6), start=10.0, end=30.0)

    assert data["startSample"] >= 10 * RATE
    assert data["startSample"] + data["lengthSamples"] <= 30 * RATE


@settings(max_examples=15, deadline=None)
@given(low=st.floats(0.25, 4), width=st.floats(0.3, 6), seconds=st.floats(3, 9))
def test_the_length_is_in_the_range_or_there_is_no_loop(tmp_path_factory, low, width, seconds):
    workdir = tmp_path_factory.mktemp("loop")
    path = tones.write(workdir / "in.wav", tones.music(seconds, 8_000, 1), 8_000)
    params = LoopParams(min_seconds=low, max_seconds=low + width)
    try:
        data = loop.run({"input": as_input(path)}, params, RecordingContext(workdir)).data
    except LoopNotFoundError:
        assert seconds < low + 0.6  # what it takes to see that something comes back
        return
    assert low - 1e-3 <= data["seconds"] <= low + width + 1e-3
    assert data["startSample"] + data["lengthSamples"] <= round(seconds * 8_000)


def test_a_file_that_is_too_short_has_no_loop(looped):
    with pytest.raises(LoopNotFoundError) as caught:
        looped(tones.music(1.5, RATE))

    assert caught.value.hint


def test_beats_out_of_the_range_are_told(looped):
    with pytest.raises(LoopNotFoundError, match="outside minSeconds"):
        looped(song(2.0, "ABAC" * 6), beats=1)


def test_silence_loops_without_a_seam(looped):
    found, data, _ = looped(np.zeros((5 * RATE, 1), np.float32))

    assert not found.any()
    assert data["seamCorrelation"] == 1


def test_what_does_not_repeat_is_called_weak(looped):
    sweep = np.sin(2 * np.pi * np.cumsum(np.geomspace(50, 9_000, 8 * RATE)) / RATE)

    _, _, ctx = looped(tones.spread(0.5 * sweep, 1))

    assert "weakLoop" in ctx.codes()


@pytest.mark.parametrize("params", [{"min_seconds": 5.0, "max_seconds": 4.0}, {"start": 3.0, "end": 4.0}])
def test_empty_ranges_are_refused(params):
    with pytest.raises(InvalidParamsError):
        LoopParams(**params)


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channels(looped, rate, channels):
    found, data, _ = looped(song(1.0, "ABAC" * 2, rate, channels), rate)

    assert found.shape == (data["lengthSamples"], channels)


def test_the_facts_are_those_of_the_page(looped, told_keys):
    assert set(looped(tones.music(6.0, RATE), repeat=2)[1]) <= told_keys("loop")


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_a_crossfade_keeps_the_power(correlation):
    random = np.random.default_rng(1)
    common, first, second = (random.normal(0, 1, (100_000, 1)) for _ in range(3))
    mixed = [np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own for own in (first, second)]

    joined = crossfaded(*mixed, np.linspace(0, 1, 100_000), correlation)

    powers = np.square(joined).reshape(10, -1).mean(axis=1)
    assert powers == pytest.approx(1, abs=0.1)


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=6))
def test_rows_do_not_depend_on_the_blocks(sizes):
    sound = tones.music(2.0, RATE, 1)
    whole = Timbre(RATE)
    expected = np.concatenate([whole.feed(sound), whole.finish()])
    timbre, rows, at, turn = Timbre(RATE), [], 0, 0
    while at < len(sound):
        size = sizes[turn % len(sizes)]
        rows.append(timbre.feed(sound[at : at + size]))
        at, turn = at + size, turn + 1
    found = np.concatenate([*rows, timbre.finish()])

    assert found.shape == expected.shape
    assert found.shape[1] == BANDS
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("frames", [6, 100, 5_000, 20_000])
def test_stretches_correlate_with_themselves_as_the_whole_would(frames):
    onset = np.random.default_rng(frames).random(frames)
    level = onset - onset.mean()

    found = _autocorrelation(onset)

    for lag in {0, 1, len(found) // 2, len(found) - 1}:
        assert found[lag] == pytest.approx((level[: frames - lag] @ level[lag:]) / (frames - lag), abs=1e-9)


@pytest.mark.parametrize("bpm", [60, 90, 100, 128, 150, 180])
def test_clicks_have_their_tempo(bpm):
    rises = np.zeros(round(40 * FRAMES_PER_SECOND))
    rises[np.round(np.arange(0, 40, 60 / bpm) * FRAMES_PER_SECOND).astype(int)] = 1.0

    found = tempo(onsets(rises), FRAMES_PER_SECOND)

    octave = np.log2(found.bpm / bpm)
    assert abs(octave - round(octave)) < 0.005
    assert found.strength > 0.2


@pytest.mark.parametrize("hint", [90.0, 120.0, 150.0])
def test_a_given_tempo_is_kept_whatever_is_heard(hint):
    for seed in range(20):
        found = tempo(np.random.default_rng(seed).random(2_000).astype(np.float32), FRAMES_PER_SECOND, hint)

        assert found.bpm == pytest.approx(hint, rel=0.045)


def test_beats_are_counted_at_a_given_tempo_where_none_is_heard(looped):
    _, data, _ = looped(np.zeros((20 * RATE, 1), np.float32), bpm=120.0, beats=8)

    assert data["seconds"] == pytest.approx(4.0, rel=0.04)


def test_what_the_first_pass_accepted_no_later_one_refuses(tmp_path):
    sound = np.tile(song(2.0, "AB"), (6, 1))
    sound[3 * RATE : 3 * RATE + 300] = np.nan
    sound[4 * RATE - 5 : 4 * RATE + 5] = np.nan
    path = tmp_path / "in.wav"
    soundfile.write(path, sound, RATE, "FLOAT")
    ctx = RecordingContext(tmp_path)

    loop.run({"input": as_input(path)}, LoopParams(), ctx)

    assert ctx.codes().count("nonFinite") == 1
