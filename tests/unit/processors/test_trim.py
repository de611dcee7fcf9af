"""`trim`: the stretch that was asked for, bit by bit, and silence cut where there is some."""

from pathlib import Path

import numpy as np
import pytest

from musproj.application import params as wire
from musproj.errors import AudioSilentError, AudioTruncatedError, InvalidParamsError
from musproj.processors import blocks
from musproj.processors._runs.trim_params import TrimParams
from musproj.processors.trim import trim
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input, decode

RATE = 44_100
SPEECH = Path("/usr/share/sounds/alsa/Front_Center.wav")
PLAIN = {"fade_in_ms": 0.0, "fade_out_ms": 0.0}


@pytest.fixture
def cut(tmp_path):
    """Give a function that trims samples or a file, and returns outcome, decoded output and context."""
    count = 0

    def cut(source, rate=RATE, subtype="PCM_16", **params):
        nonlocal count
        count += 1
        workdir = tmp_path / f"run-{count}"
        workdir.mkdir()
        path = source if isinstance(source, Path) else tones.write(tmp_path / f"in-{count}.wav", source, rate, subtype)
        ctx = RecordingContext(workdir)
        outcome = trim.run({"input": as_input(path)}, TrimParams(**params), ctx)
        return outcome, decode(outcome.files["trimmed"]), ctx

    return cut


def spoken(before=1.0, sound=2.0, after=1.5, level=-20.0, floor=None):
    """Return a tone with silence around it, stereo."""
    return tones.stepped([tones.Step(floor, before), tones.Step(level, sound), tones.Step(floor, after)], RATE)


# ── by time ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
@pytest.mark.parametrize("window", [(0, None), (1, 2), (70_000, None), (0, 65_536), (65_535, 131_073), (10, 99_999)])
def test_the_stretch_is_copied_bit_by_bit(cut, tmp_path, subtype, window):
    source = tones.music(4.0)
    path = tones.write(tmp_path / "in.wav", source, RATE, subtype)
    start, stop = window

    outcome, output, _ = cut(path, start_sample=start, end_sample=stop, **PLAIN)

    np.testing.assert_array_equal(output, decode(path)[start:stop])
    with blocks.reader(outcome.files["trimmed"]) as result, blocks.reader(path) as given:
        assert (result.info.codec, result.info.bits) == (given.info.codec, given.info.bits)
    assert (outcome.data["startSample"], outcome.data["endSample"]) == (start, stop or len(source))
    assert outcome.data["removedLeadingSeconds"] == start / RATE
    assert outcome.data["removedTrailingSeconds"] == (len(source) - (stop or len(source))) / RATE
    assert outcome.data["frames"] == len(output)


@pytest.mark.parametrize("extension", ["flac", "mp3", "ogg"])
def test_a_codec_is_cut_to_the_sample(cut, tmp_path, extension):
    path = tones.write(tmp_path / f"in.{extension}", tones.music(3.0), RATE, {"flac": "PCM_16"}.get(extension))

    outcome, output, _ = cut(path, start=1.0, end=2.5, **PLAIN)

    np.testing.assert_allclose(output, decode(path)[RATE : round(2.5 * RATE)], atol=2.0**-23)
    assert outcome.data["removedTrailingSeconds"] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("options", [{}, {"end": 99.0}, {"silence": "leading"}])
def test_nothing_is_called_removed_that_was_never_there(cut, tmp_path, options):
    """An MP3's header promises more than comes."""
    path = tones.write(tmp_path / "in.mp3", tones.music(3.0), RATE, None)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    outcome, output, ctx = cut(path, **options)

    assert ctx.codes() == ([] if "end" in options else ["truncated"])
    assert outcome.data["removedTrailingSeconds"] == 0
    assert outcome.data["endSample"] == len(output)


def test_seconds_are_rounded_to_the_nearest_sample_and_samples_win(cut):
    source = tones.music(2.0)

    by_time = cut(source, start=0.00001, end=1.000009, **PLAIN)[0].data
    by_sample = cut(source, start=0.5, start_sample=7, end=1.0, **PLAIN)[0].data

    assert (by_time["startSample"], by_time["endSample"]) == (0, RATE)
    assert (by_sample["startSample"], by_sample["endSample"]) == (7, RATE)


def test_an_end_behind_the_end_is_the_end(cut):
    outcome, output, ctx = cut(tones.music(1.0), start=0.5, end=99.0, **PLAIN)

    assert outcome.data["endSample"] == RATE
    assert outcome.data["removedTrailingSeconds"] == 0
    assert len(output) == RATE // 2
    assert ctx.warnings == []


@pytest.mark.parametrize(
    "given",
    [
        {"start": 2.0, "end": 1.0},
        {"start": 1.0, "end": 1.0},
        {"startSample": 5, "endSample": 5},
        {"endSample": 0},
        {"start": 1.0, "endSample": 44_100},
        {"startSample": 88_200, "end": 2.0},
        {"start": 99.0},
        {"start": 99.0, "silence": "both"},
        {"startSample": 140_000},  # an MP3 may be a little longer than what was put into it
    ],
)
@pytest.mark.parametrize("extension", ["wav", "flac", "mp3"])
def test_times_that_leave_nothing_are_refused(cut, tmp_path, given, extension):
    path = tones.write(tmp_path / f"in.{extension}", tones.music(3.0), RATE, "PCM_16" if extension != "mp3" else None)

    def attempt():
        parsed = wire.parse(TrimParams, given)
        cut(path, **{name: getattr(parsed, name) for name in ("start", "end", "start_sample", "end_sample", "silence")})

    with pytest.raises(InvalidParamsError) as caught:
        attempt()

    assert caught.value.violations[0].pointer in ("/params/start", "/params/end", "/params/endSample")


# ── silence ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("silence", "start", "stop"),
    [("leading", 0.95, 4.5), ("trailing", 0.0, 3.05), ("both", 0.95, 3.05), ("off", 0.0, 4.5)],
)
def test_silence_is_cut_but_for_the_padding(cut, silence, start, stop):
    outcome, output, _ = cut(spoken(), silence=silence)

    assert outcome.data["startSample"] == round(start * RATE)
    assert outcome.data["endSample"] == round(stop * RATE)
    assert len(output) == round(stop * RATE) - round(start * RATE)


def test_silence_is_looked_for_inside_of_the_times(cut):
    outcome, _, _ = cut(spoken(), start=0.5, end=3.6, silence="both", pad_ms=100.0)

    assert outcome.data["startSample"] == round(0.9 * RATE)
    assert outcome.data["endSample"] == round(3.1 * RATE)


@pytest.mark.parametrize(("least", "is_cut"), [(990.0, True), (1_020.0, False)])
def test_shorter_silence_stays(cut, least, is_cut):
    assert (cut(spoken(), silence="leading", min_silence_ms=least)[0].data["startSample"] > 0) is is_cut


@pytest.mark.parametrize(("threshold", "is_cut"), [(-55.0, True), (-65.0, False)])
def test_the_threshold_is_an_rms(cut, threshold, is_cut):
    """The floor is a sine of -57 dBFS, whose RMS is 3 dB below."""
    outcome, _, _ = cut(spoken(floor=-57.0), subtype="PCM_24", silence="both", threshold_dbfs=threshold)

    assert (outcome.data["startSample"] > 0) is is_cut
    assert (outcome.data["endSample"] < round(4.5 * RATE)) is is_cut


def test_the_loudest_channel_decides(cut):
    source = spoken()
    source[:, 0] = 0

    assert cut(source, silence="leading")[0].data["startSample"] == round(0.95 * RATE)


@pytest.mark.parametrize("source", [np.zeros((RATE, 2), np.float32), spoken(level=-70.0)], ids=["zero", "too quiet"])
def test_silence_alone_is_refused(cut, source):
    with pytest.raises(AudioSilentError):
        cut(source, silence="both")


def test_padding_never_reaches_beyond_the_file(cut):
    outcome, _, _ = cut(spoken(before=0.3, after=0.3), silence="both", pad_ms=2_000.0)

    assert (outcome.data["startSample"], outcome.data["endSample"]) == (0, round(2.6 * RATE))


def test_recorded_speech_loses_its_silence_and_no_sound(cut):
    if not SPEECH.exists():
        pytest.skip("needs the recordings of alsa-utils")
    source = decode(SPEECH)

    outcome, output, _ = cut(SPEECH, silence="both", threshold_dbfs=-50.0, min_silence_ms=10.0, **PLAIN)
    start, stop = outcome.data["startSample"], outcome.data["endSample"]

    np.testing.assert_array_equal(output, source[start:stop])
    lost = np.concatenate([source[:start], source[stop:]])
    assert len(lost) == 0 or np.sqrt(np.square(lost).mean()) < 10 ** (-50 / 20)


# ── fades ────────────────────────────────────────────────────────────────────────────────────────


def ramp(count):
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)


@pytest.mark.parametrize(
    ("fade_in", "fade_out"), [(5.0, 5.0), (0.0, 20.0), (20.0, 0.0), (300.0, 2_000.0), (3_000.0, 3_000.0)]
)
def test_fades_are_raised_cosines(cut, fade_in, fade_out):
    source = 0.5 * np.ones((4 * RATE, 2), np.float32)

    _, output, _ = cut(source, subtype="FLOAT", fade_in_ms=fade_in, fade_out_ms=fade_out)

    expected = np.full(len(source), 0.5)
    first, last = round(fade_in * RATE / 1_000), round(fade_out * RATE / 1_000)
    expected[:first] *= ramp(first)
    expected[len(expected) - last :] *= ramp(last)[::-1]
    np.testing.assert_allclose(output[:, 1], expected, atol=1e-6)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_between_the_fades_every_bit_is_kept(cut, subtype):
    source = tones.music(3.0)
    fade = round(0.005 * RATE)

    _, output, _ = cut(source, subtype=subtype)
    _, plain, _ = cut(source, subtype=subtype, **PLAIN)

    np.testing.assert_array_equal(output[fade:-fade], plain[fade:-fade])


@pytest.mark.parametrize("frames", [1, 2, 100, 441])
def test_what_is_shorter_than_its_fades_is_faded(cut, frames):
    outcome, output, _ = cut(np.ones((frames, 1), np.float32) / 2, subtype="FLOAT", fade_out_ms=10.0)

    assert len(output) == frames == outcome.data["endSample"]
    assert np.abs(output).max() <= 0.5


@pytest.mark.parametrize("frames", [65_535, 65_536, 65_537, 131_072])
def test_every_length_is_kept(cut, frames):
    assert len(cut(tones.music(3.0)[:frames])[1]) == frames


@pytest.mark.parametrize("block_frames", [4_096, 1_000_003])
@pytest.mark.parametrize("options", [PLAIN, {"silence": "both"}, {"fade_out_ms": 700.0}])
def test_the_block_size_changes_nothing(cut, monkeypatch, block_frames, options):
    source = spoken()
    reader = blocks.reader
    usual = cut(source, **options)

    monkeypatch.setattr(blocks, "reader", lambda *args, **given: reader(*args, **given, block_frames=block_frames))
    other = cut(source, **options)

    assert usual[0].data == other[0].data
    np.testing.assert_array_equal(usual[1], other[1])


# ── formats and odd inputs ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("container", "bits"), [("wav", 16), ("wav", 24), ("flac", 16), ("flac", 24)])
def test_the_result_has_the_format_that_was_asked_for(cut, container, bits):
    outcome, _, _ = cut(tones.music(1.0), subtype="FLOAT", format=container, bits=bits)

    with blocks.reader(outcome.files["trimmed"]) as result:
        assert (result.info.container, result.info.bits) == (container, bits)


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_channels_and_their_places_are_kept(cut, tmp_path, channels):
    source = tones.write(tmp_path / "in.wav", tones.music(1.0, channels=channels), RATE, "PCM_24")

    outcome, output, _ = cut(source, start=0.5, **PLAIN)

    with blocks.reader(source) as before, blocks.reader(outcome.files["trimmed"]) as after:
        assert after.speakers == before.speakers
    np.testing.assert_array_equal(output, decode(source)[RATE // 2 :])


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 48_000, 96_000, 192_000, 384_000])
def test_every_rate_is_cut(cut, rate):
    source = tones.stepped([tones.Step(None, 0.5), tones.Step(-20.0, 0.5)], rate, 1)

    outcome, output, _ = cut(source, rate, silence="leading")

    assert outcome.data["startSample"] == pytest.approx(0.45 * rate, abs=0.005 * rate)
    assert len(output) == len(source) - outcome.data["startSample"]


def test_a_cut_file_is_told_or_refused(cut, tmp_path):
    path = tones.write(tmp_path / "whole.wav", tones.music(2.0), RATE, "PCM_16")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    outcome, _, ctx = cut(path, silence="leading")

    assert ctx.codes() == ["truncated"]
    assert outcome.data["endSample"] < RATE + 10
    with pytest.raises(AudioTruncatedError):
        cut(path, strict=True)


def test_hot_floats_are_counted_where_they_are_clipped(cut):
    source = 2 * tones.music(1.0)

    outcome, _, _ = cut(source, subtype="FLOAT", bits=24, **PLAIN)

    assert outcome.data["clippedSamples"] == int((np.abs(source) > 1).sum())


def test_the_result_holds_the_keys_of_its_page(cut, told_keys):
    data = cut(tones.music(1.0))[0].data

    sometimes = {"truncated", "nonFiniteSamples", "outOfRangeSamples", "clippedSamples"}
    assert told_keys("trim") - sometimes == set(data)
