"""The shared block reader and writer."""

import errno
import struct
import sys

import numpy as np
import pytest

from musproj.errors import (
    EncodeUnsupportedError,
    JobCancelledError,
    LimitExceededError,
    MissingExtraError,
    NonFiniteError,
    OutputInvalidError,
    StorageFullError,
    UnsupportedFormatError,
)
from musproj.processors import blocks
from musproj.processors._formats.encode_wav import WavEncoder
from musproj.processors._formats.header import DEFAULT_SPEAKERS
from musproj.processors.probe import probe_file
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, decode

RATE = 44_100


@pytest.fixture
def wav(tmp_path):
    return tones.write(tmp_path / "in.wav", tones.music(2.0), RATE)


@pytest.mark.parametrize("frames", [0, 1, 2, 999, 1_000, 1_001, 2_000])
def test_blocks_are_full_but_the_last(tmp_path, frames):
    samples = tones.music(1.0)[:frames]
    path = tones.write(tmp_path / "in.wav", samples, RATE)
    if not frames:
        assert path.stat().st_size < 128
        return
    with blocks.reader(path, block_frames=1_000) as source:
        got = [(start, block.copy()) for start, block in source]
        assert source.frames_read == frames
    assert [len(block) for _, block in got[:-1]] == [1_000] * (len(got) - 1)
    assert [start for start, _ in got] == list(range(0, frames, 1_000))
    assert np.array_equal(np.concatenate([block for _, block in got]), samples)


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.mp3", "x.ogg", "x.aiff", "x.caf"])
@pytest.mark.parametrize(("start", "stop"), [(0, None), (1, 50_000), (12_345, None), (65_536, 65_537), (80_000, 10)])
def test_a_window_is_a_slice(tmp_path, name, start, stop):
    path = tones.write(tmp_path / name, tones.music(2.0), RATE, None)
    with blocks.reader(path, start=start, stop=stop) as source:
        parts = [block.copy() for _, block in source]
        expected = source.frames
    got = np.concatenate(parts) if parts else np.empty((0, 2), np.float32)
    assert np.array_equal(got, decode(path)[start:stop])
    assert abs((expected or 0) - len(got)) <= 2_400


def test_a_window_behind_the_end_is_empty(wav):
    with blocks.reader(wav, start=10**9) as source:
        assert list(source) == []


def test_integers_are_copied_bit_by_bit(tmp_path):
    source_path = tones.write(tmp_path / "in.wav", tones.music(1.0, peak_dbfs=0.0), RATE, "PCM_16")
    for name in ("out.wav", "out.flac"):
        with (
            blocks.reader(source_path, dtype="int16") as source,
            blocks.writer(tmp_path / name, like=source, subtype="PCM_16") as sink,
        ):
            for _, block in source:
                sink.write(block)
        assert np.array_equal(decode(tmp_path / name), decode(source_path))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_floats_come_back_bit_by_bit(tmp_path, subtype):
    source_path = tones.write(tmp_path / "in.wav", tones.music(1.0, peak_dbfs=0.0), RATE, "PCM_16")
    copy = tones.write(tmp_path / "copy.wav", decode(source_path), RATE, subtype)
    assert np.array_equal(decode(copy), decode(source_path))


def test_integers_of_a_float_file_are_refused(wav):
    with pytest.raises(ValueError, match="float32"):
        blocks.reader(wav, dtype="int16")


@pytest.mark.parametrize(("dtype", "shift"), [("int16", 16), ("int32", 0)])
def test_24_bits_stand_at_the_top(tmp_path, dtype, shift):
    values = np.array([[1, -1], [2**23 - 1, -(2**23)]], np.int64) << 8
    path = tones.write(tmp_path / "in.wav", (values / 2**31).astype(np.float32), RATE, "PCM_24")
    with blocks.reader(path, dtype=dtype) as source:
        assert np.array_equal(next(iter(source))[1], values >> shift)


# ── what is no number ────────────────────────────────────────────────────────────────────────────


def spoiled(tmp_path, count, value=np.nan, total=10_000):
    samples = np.full((total, 1), 0.5, np.float32)
    samples[:count] = value
    raw = tones.riff(
        tones.chunk(b"fmt ", tones.wav_format(tag=3, channels=1, bits=32)), tones.chunk(b"data", samples.tobytes())
    )
    path = tmp_path / "spoiled"
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_few_samples_that_are_no_numbers_become_zero(tmp_path, ctx, value):
    with blocks.reader(spoiled(tmp_path, 100, value), ctx) as source:
        got = np.concatenate([block.copy() for _, block in source])
        assert source.facts()["nonFiniteSamples"] == 100
    assert not got[:100].any()
    assert (got[100:] == 0.5).all()
    assert ctx.warnings == [
        {"code": "nonFinite", "message": "100 samples were not finite and became 0.", "samples": 100}
    ]


def test_more_than_one_percent_is_refused(tmp_path):
    with pytest.raises(NonFiniteError):
        decode(spoiled(tmp_path, 101))


def test_rejecting_refuses_a_single_one(tmp_path):
    with pytest.raises(NonFiniteError), blocks.reader(spoiled(tmp_path, 1), on_nonfinite="reject") as source:
        list(source)


def test_absurd_samples_are_clipped_and_counted(tmp_path, ctx):
    with blocks.reader(spoiled(tmp_path, 3, 3e38), ctx) as source:
        got = np.concatenate([block.copy() for _, block in source])
        assert source.facts()["outOfRangeSamples"] == 3
    assert got.max() == 1e4
    assert ctx.codes() == ["outOfRange"]


def test_levels_above_full_scale_are_kept(tmp_path):
    assert decode(spoiled(tmp_path, 1, 4.0)).max() == 4.0


# ── limits, progress, cancellation ───────────────────────────────────────────────────────────────


def test_decoding_stops_at_the_duration_limit(tmp_path):
    path = tones.write(tmp_path / "in.ogg", tones.music(3.0), RATE, None)
    with pytest.raises(LimitExceededError):
        blocks.reader(path, limits=blocks.Limits(max_duration_seconds=2.0))


def test_a_stream_of_unknown_length_is_counted_while_decoding(tmp_path):
    path = tones.write(tmp_path / "in.flac", tones.music(3.0), RATE, "PCM_16")
    data = path.read_bytes()
    packed = int.from_bytes(data[18:26], "big") >> 36 << 36
    path.write_bytes(data[:18] + packed.to_bytes(8, "big") + data[26:])
    limits = blocks.Limits(max_duration_seconds=2.0)
    with blocks.reader(path, limits=limits, block_frames=4_096) as source, pytest.raises(LimitExceededError):
        list(source)


@pytest.mark.parametrize("limits", [{"max_channels": 1}, {"max_sample_rate": 40_000}, {"min_sample_rate": 48_000}])
def test_limits_are_told_with_their_values(wav, limits):
    with pytest.raises(LimitExceededError) as caught:
        blocks.reader(wav, limits=blocks.Limits(**limits))
    assert {"limit", "value"} < set(caught.value.facts)


def test_progress_covers_its_share_and_ends_there(wav, ctx):
    with blocks.reader(wav, ctx, share=(0.25, 0.75), stage="first", block_frames=8_000) as source:
        list(source)
    assert ctx.fractions == sorted(ctx.fractions)
    assert 0.25 < ctx.fractions[0] < 0.75
    assert ctx.fractions[-1] == 0.75
    assert set(ctx.stages) == {"first"}


def test_cancelling_passes_through_and_removes_the_half_written_file(wav, tmp_path):
    ctx = RecordingContext(tmp_path, cancel_at=3)
    target = tmp_path / "out.wav"
    with (  # noqa: PT012 -- leaving the writer is what is tested
        pytest.raises(JobCancelledError),
        blocks.reader(wav, ctx, block_frames=8_000) as source,
        blocks.writer(target, like=source) as sink,
    ):
        for _, block in source:
            sink.write(block)
    assert not target.exists()


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_written_wavs_are_read_by_libsndfile(tmp_path, channels, subtype):
    import soundfile

    samples = tones.music(0.1, channels=channels)
    path = tones.write(tmp_path / "out.wav", samples[:-1], RATE, subtype)
    got, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate == RATE
    assert np.abs(got - samples[:-1]).max() <= (0 if subtype == "FLOAT" else 2.0**-15)
    assert np.array_equal(decode(path), got)


@pytest.mark.parametrize("channels", [3, 4, 5, 6, 7, 8])
def test_the_layout_is_written(tmp_path, channels):
    path = tones.write(tmp_path / "out.wav", np.zeros((10, channels), np.float32), RATE)
    with blocks.reader(path) as source:
        assert source.speakers == DEFAULT_SPEAKERS[channels]


def test_a_stereo_wav_has_the_plain_header(tmp_path):
    data = tones.write(tmp_path / "out.wav", np.zeros((10, 2), np.float32), RATE, "PCM_24").read_bytes()
    assert data[12:16] == b"JUNK"  # the length was not known beforehand
    with blocks.writer(tmp_path / "known.wav", sample_rate=RATE, channels=2, frames=10, subtype="PCM_24") as sink:
        sink.write(np.zeros((10, 2), np.float32))
    data = (tmp_path / "known.wav").read_bytes()
    assert data[12:22] == b"fmt \x10\0\0\0\x01\0"
    assert len(data) == 44 + 60
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8


@pytest.mark.parametrize("frames", [None, 2**31])
def test_a_wav_beyond_4_gib_turns_into_rf64(tmp_path, frames):
    path = tmp_path / "large.wav"
    sink = blocks.writer(path, sample_rate=RATE, channels=2, frames=frames, subtype="FLOAT")
    encoder = sink._encoder
    assert isinstance(encoder, WavEncoder)
    count = 2**32 // 8 + 5
    encoder._file.seek(count * 8, 1)  # a hole instead of 4 GiB of samples
    encoder.frames = count
    sink.write(np.ones((1, 2), np.float32))
    sink.close()
    info = probe_file(path)
    assert (info.frames, info.channels) == (count + 1, 2)
    with path.open("rb") as file:
        assert file.read(4) == b"RF64"
    with blocks.reader(path, start=count) as source:
        assert next(iter(source))[1].tolist() == [[1.0, 1.0]]


def test_a_wav_that_outgrows_its_promise_is_refused(tmp_path):
    sink = blocks.writer(tmp_path / "large.wav", sample_rate=RATE, channels=2, frames=10, subtype="FLOAT")
    sink._encoder.frames = 2**30
    with pytest.raises(LimitExceededError):
        sink.close()
    assert not (tmp_path / "large.wav").exists()


@pytest.mark.parametrize("name", ["out.wav", "out.flac", "out.mp3"])
def test_what_is_no_number_is_not_written(tmp_path, name):
    samples = np.zeros((100, 2), np.float32)
    samples[50] = np.nan
    path = tmp_path / name
    with pytest.raises(OutputInvalidError), blocks.writer(path, sample_rate=RATE, channels=2) as sink:
        sink.write(samples)
    assert not path.exists()


def test_clipped_samples_are_counted(tmp_path):
    with blocks.writer(tmp_path / "out.wav", sample_rate=RATE, channels=1, subtype="PCM_16") as sink:
        sink.write(np.array([[1.0], [-1.0], [1.001], [-7.0], [0.5]], np.float32))
        assert sink.clipped_samples == 2
    assert decode(tmp_path / "out.wav").ravel().tolist() == [32_767 / 32_768, -1.0, 32_767 / 32_768, -1.0, 0.5]


def test_dither_is_noise_of_one_step_and_repeats(tmp_path):
    quiet = np.full((20_000, 1), 0.3 / 2**15, np.float32)
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        path = tmp_path / f"{name}.wav"
        with blocks.writer(path, sample_rate=RATE, channels=1, subtype="PCM_16", dither_seed=seed) as sink:
            sink.write(quiet)
        results.append(decode(path) * 2**15)
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
    assert abs(results[0].mean() - 0.3) < 0.03  # without dither all of it would be 0
    assert set(np.unique(results[0])) <= {-1.0, 0.0, 1.0}


@pytest.mark.parametrize(
    ("name", "channels", "rate"),
    [("x.flac", 9, RATE), ("x.mp3", 3, RATE), ("x.mp3", 2, 96_000), ("x.opus", 2, 44_100), ("x.wav", 70_000, RATE)],
)
def test_what_a_codec_cannot_take_is_told(tmp_path, name, channels, rate):
    with pytest.raises(EncodeUnsupportedError):
        blocks.writer(tmp_path / name, sample_rate=rate, channels=channels)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(("name", "subtype"), [("x.xyz", None), ("x.wav", "GSM610"), ("x.flac", "FLOAT")])
def test_unknown_formats_are_told(tmp_path, name, subtype):
    with pytest.raises(UnsupportedFormatError):
        blocks.writer(tmp_path / name, sample_rate=RATE, channels=2, subtype=subtype)


def test_a_writer_needs_a_shape(tmp_path):
    with pytest.raises(ValueError, match="sample rate"):
        blocks.writer(tmp_path / "x.wav")


def test_minutes_in_one_call_do_not_break_the_vorbis_encoder(tmp_path):
    path = tones.write(tmp_path / "long.ogg", np.zeros((60 * RATE, 1), np.float32), RATE, None)
    assert probe_file(path).frames == 60 * RATE


def test_a_full_disk_is_told(tmp_path):
    class Full:
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    path = tmp_path / "out.wav"
    with (  # noqa: PT012 -- as above
        pytest.raises(StorageFullError),
        blocks.writer(path, sample_rate=RATE, channels=1) as sink,
    ):
        sink._encoder._file.close()
        sink._encoder._file = Full()
        sink.write(np.zeros((10, 1), np.float32))
    assert not path.exists()


def test_missing_libraries_name_their_extra(tmp_path, monkeypatch):
    flac = tones.write(tmp_path / "in.flac", tones.music(0.1), RATE, "PCM_16")
    wav = tones.write(tmp_path / "in.wav", tones.music(0.1), RATE)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert len(decode(wav)) == 4_410  # needs numpy alone
    with pytest.raises(MissingExtraError, match=r"musproj\[audio\]"):
        blocks.reader(flac)
    with pytest.raises(MissingExtraError, match=r"musproj\[audio\]"):
        blocks.writer(tmp_path / "out.flac", sample_rate=RATE, channels=2)
    info = probe_file(flac)
    assert (info.container, info.sample_rate, info.channels) == ("flac", None, None)


def test_m4a_without_its_library_tells_the_pip_line(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    path = file(b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(500))
    with pytest.raises(UnsupportedFormatError) as caught:
        blocks.reader(path)
    assert caught.value.hint == "pip install 'musproj[codecs]'"
    info = probe_file(path)
    assert (info.container, info.sample_rate, info.channels) == ("m4a", None, None)
