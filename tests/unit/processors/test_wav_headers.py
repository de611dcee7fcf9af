"""The WAV family, row by row: what is refused, with which code, and what is read in spite of its header."""

import struct

import numpy as np
import pytest

from musproj.errors import (
    AudioCorruptError,
    AudioEmptyError,
    AudioTruncatedError,
    LimitExceededError,
    NotAudioError,
    UnsupportedFormatError,
)
from musproj.processors import blocks
from musproj.processors.probe import probe_file
from musproj.testing.processors import decode, peak_growth_kib
from musproj.testing.tones import chunk, riff, wav_format

FRAMES = 4_410
PCM = (np.arange(2 * FRAMES) % 3_000 - 1_500).astype("<i2")
SOUND = PCM.tobytes()
FMT = chunk(b"fmt ", wav_format())
DATA = chunk(b"data", SOUND)
TAIL = bytes.fromhex("000000001000800000aa00389b71")


def extensible(tag=1, bits=16, valid=None, channels=2, mask=3, tail=TAIL, extra=22):
    form = wav_format(tag=0xFFFE, channels=channels, bits=bits)
    return chunk(b"fmt ", form + struct.pack("<HHIH", extra, valid or bits, mask, tag) + tail)


def ds64(riff_size, data_size):
    return chunk(b"ds64", struct.pack("<QQQI", riff_size, data_size, FRAMES, 0))


REFUSED = [
    ("nothing", b"", NotAudioError),
    ("four bytes", b"RIFF", NotAudioError),
    ("html", b"<!doctype html><p>not found", NotAudioError),
    ("another RIFF", b"RIFF\x04\0\0\0AVI " + bytes(64), NotAudioError),
    ("header only", riff(), AudioCorruptError),
    ("no data", riff(FMT), AudioCorruptError),
    ("no format", riff(DATA), AudioCorruptError),
    ("format of 10 bytes", riff(chunk(b"fmt ", wav_format()[:10]), DATA), AudioCorruptError),
    ("format of 4 GiB", riff(chunk(b"fmt ", wav_format(), 0xFFFF_FFF0), DATA), AudioCorruptError),
    ("LIST of 2 GiB", riff(FMT, chunk(b"LIST", b"INFO", 2**31), DATA), AudioCorruptError),
    ("two data chunks", riff(FMT, DATA, DATA), AudioCorruptError),
    ("no frames", riff(FMT, chunk(b"data", b"")), AudioEmptyError),
    ("no frames but tags", riff(FMT, chunk(b"data", b""), chunk(b"LIST", b"INFOabcd")), AudioEmptyError),
    ("odd chunk without padding", riff(b"odd \x03\0\0\0abc", FMT, DATA), AudioCorruptError),
    ("RF64 without ds64", riff(FMT, chunk(b"data", SOUND, 0xFFFF_FFFF), magic=b"RF64"), AudioCorruptError),
    ("no channel", riff(chunk(b"fmt ", wav_format(channels=0, align=4)), DATA), AudioCorruptError),
    ("1,024 channels", riff(chunk(b"fmt ", wav_format(channels=1_024)), DATA), LimitExceededError),
    ("65,535 channels", riff(chunk(b"fmt ", wav_format(channels=65_535)), DATA), LimitExceededError),
    ("rate 0", riff(chunk(b"fmt ", wav_format(rate=0)), DATA), AudioCorruptError),
    ("rate 2^32-1", riff(chunk(b"fmt ", wav_format(rate=2**32 - 1)), DATA), AudioCorruptError),
    ("rate 1", riff(chunk(b"fmt ", wav_format(rate=1)), DATA), LimitExceededError),
    ("rate 2^31-1", riff(chunk(b"fmt ", wav_format(rate=2**31 - 1)), DATA), LimitExceededError),
    *(
        (f"{bits} bits", riff(chunk(b"fmt ", wav_format(bits=bits, align=4)), DATA), AudioCorruptError)
        for bits in (0, 33, 64, 255)
    ),
    *(
        (f"{bits} bits", riff(chunk(b"fmt ", wav_format(bits=bits, align=2)), DATA), UnsupportedFormatError)
        for bits in (1, 4, 7)
    ),
    ("floats of 16 bits", riff(chunk(b"fmt ", wav_format(tag=3, bits=16)), DATA), AudioCorruptError),
    ("tag 999", riff(chunk(b"fmt ", wav_format(tag=999)), DATA), UnsupportedFormatError),
    ("ADPCM", riff(chunk(b"fmt ", wav_format(tag=2, bits=4)), DATA), UnsupportedFormatError),
    ("extended without extension", riff(extensible(extra=0), DATA), UnsupportedFormatError),
    ("extended with a strange GUID", riff(extensible(tail=bytes(14)), DATA), UnsupportedFormatError),
    ("70,000 chunks", riff(chunk(b"JUNK", b"") * 70_000, FMT, DATA), AudioCorruptError),
    ("nameless chunk", riff(b"\x01\x02\x03\x04\0\0\0\0", FMT, DATA), AudioCorruptError),
]


@pytest.mark.parametrize(("data", "error"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_bad_file_is_refused_by_probe_and_reader_alike(file, data, error):
    path = file(data)
    with pytest.raises(error):
        probe_file(path)
    with pytest.raises(error):
        decode(path)


READ = [
    ("plain", riff(FMT, DATA), []),
    ("with tags behind", riff(FMT, DATA, chunk(b"LIST", b"INFOabcd")), []),
    ("samples before the format", riff(DATA, FMT), ["headerInconsistent"]),
    ("10,000 chunks", riff(chunk(b"JUNK", b"") * 10_000, FMT, DATA), ["headerInconsistent"]),
    ("a recorder's stream", riff(FMT, chunk(b"data", SOUND, 0), size=0), ["unknownLength"]),
    ("a pipe's stream", riff(FMT, chunk(b"data", SOUND, 2**32 - 1), size=2**32 - 1), ["unknownLength"]),
    ("claims 2 GiB", riff(FMT, chunk(b"data", SOUND, 2**31)), ["truncated"]),
    ("claims 4 GiB", riff(FMT, chunk(b"data", SOUND, 2**32 - 16)), ["truncated"]),
    ("RIFF size 0", riff(FMT, DATA, size=0), ["headerInconsistent"]),
    ("garbage behind", riff(FMT, DATA) + b"\x00\x01garbage", ["trailingData"]),
    ("RF64", riff(ds64(2**20, len(SOUND)), FMT, chunk(b"data", SOUND, 2**32 - 1), magic=b"RF64"), []),
    ("BW64", riff(ds64(2**20, len(SOUND)), FMT, chunk(b"data", SOUND, 2**32 - 1), magic=b"BW64"), []),
    ("RF64 of 2^63", riff(ds64(2**63, 2**63), FMT, chunk(b"data", SOUND, 2**32 - 1), magic=b"RF64"), ["truncated"]),
    ("block size 0", riff(chunk(b"fmt ", wav_format(align=0)), DATA), ["headerInconsistent"]),
    ("block size 65,535", riff(chunk(b"fmt ", wav_format(align=65_535)), DATA), ["headerInconsistent"]),
    ("extended", riff(extensible(), DATA), []),
    ("12 bits", riff(chunk(b"fmt ", wav_format(bits=12, align=4)), DATA), []),
]


@pytest.mark.parametrize(("data", "warnings"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_a_readable_file_gives_its_samples_and_says_what_is_odd(file, ctx, data, warnings):
    path = file(data)
    assert probe_file(path).frames == FRAMES
    with blocks.reader(path, ctx, dtype="int16") as source:
        samples = np.concatenate([block.copy() for _, block in source])
    assert np.array_equal(samples.ravel(), PCM)
    assert ctx.codes() == warnings


def test_big_endian_riff_is_read(file):
    swapped = PCM.astype(">i2").tobytes()
    data = riff(
        chunk(b"fmt ", wav_format(order=">"), order=">"), chunk(b"data", swapped, order=">"), magic=b"RIFX", order=">"
    )
    assert np.array_equal(decode(file(data)).ravel(), PCM / np.float32(32_768))


@pytest.mark.parametrize("cut", [0.5, 0.7001])
def test_a_cut_file_gives_what_is_there(file, ctx, cut):
    path = file(riff(FMT, DATA)[: 44 + int(len(SOUND) * cut)])
    whole = int(len(SOUND) * cut) // 4
    assert len(decode(path)) == whole
    with blocks.reader(path, ctx) as source:
        assert source.truncated
    assert ctx.warnings[0]["claimedFrames"] == FRAMES
    assert ctx.warnings[0]["frames"] == whole
    with pytest.raises(AudioTruncatedError):
        blocks.reader(path, strict=True)


def test_strict_takes_a_stream_of_open_length(file):
    path = file(riff(FMT, chunk(b"data", SOUND, 2**32 - 1), size=2**32 - 1))
    with blocks.reader(path, strict=True) as source:
        assert sum(len(block) for _, block in source) == FRAMES


@pytest.mark.parametrize("claim", [2**31, 2**32 - 16])
def test_no_memory_is_taken_by_a_claim(file, claim):
    path = file(riff(FMT, chunk(b"data", SOUND, claim)))
    assert peak_growth_kib(lambda: decode(path)) < 32 * 1_024


def test_a_claim_beyond_the_duration_limit_is_measured_by_the_file(file):
    path = file(riff(FMT, chunk(b"data", SOUND)))
    with pytest.raises(LimitExceededError) as caught:
        probe_file(path, blocks.Limits(max_duration_seconds=0.05))
    assert caught.value.facts["limit"] == "duration"


@pytest.mark.parametrize(
    ("form", "dtype", "scale"),
    [
        (wav_format(bits=8), "u1", 128),
        (wav_format(bits=16), "<i2", 2**15),
        (wav_format(bits=32), "<i4", 2**31),
        (wav_format(tag=3, bits=32), "<f4", 1),
        (wav_format(tag=3, bits=64), "<f8", 1),
    ],
)
def test_every_sample_type_is_scaled_to_one(file, form, dtype, scale):
    values = np.array([0.0, 0.25, -0.5, 0.75])
    stored = values * scale + (128 if dtype == "u1" else 0)
    path = file(riff(chunk(b"fmt ", form), chunk(b"data", stored.astype(dtype).tobytes())))
    assert np.array_equal(decode(path).ravel(), values.astype(np.float32))


@pytest.mark.parametrize(("form", "offset"), [(wav_format(bits=24), 1), (wav_format(bits=24, align=8), 0)])
def test_24_bits_lie_in_three_bytes_or_in_four(file, form, offset):
    values = np.array([0x000001, 0x7FFFFF, -0x800000, -1], np.int64) << 8
    raw = values.astype("<i4").view("u1").reshape(-1, 4)[:, offset:].tobytes()
    path = file(riff(chunk(b"fmt ", form), chunk(b"data", raw)))
    with blocks.reader(path, dtype="int32") as source:
        assert np.array_equal(next(iter(source))[1].ravel(), values)


@pytest.mark.parametrize("law", ["ULAW", "ALAW"])
def test_companded_samples_equal_libsndfiles(tmp_path, law):
    import soundfile

    path = tmp_path / "law.wav"
    soundfile.write(path, np.linspace(-1, 1, 4_000), 8_000, subtype=law)
    assert np.array_equal(decode(path)[:, 0], soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_samples_equal_libsndfiles(tmp_path, subtype):
    import soundfile

    path = tmp_path / "any.wav"
    soundfile.write(path, np.random.default_rng(3).uniform(-1, 1, (5_000, 3)), 48_000, subtype=subtype)
    assert np.array_equal(decode(path), soundfile.read(path, dtype="float32", always_2d=True)[0])


def test_the_layout_comes_from_the_mask(file):
    six = np.zeros(6 * 100, "<i2").tobytes()
    path = file(riff(extensible(channels=6, mask=0x60F), chunk(b"data", six)))
    with blocks.reader(path) as source:
        assert source.speakers == ("FL", "FR", "FC", "LFE", "SL", "SR")


def test_a_mask_of_another_count_is_ignored(file):
    path = file(riff(extensible(channels=2, mask=0x3F), DATA))
    with blocks.reader(path) as source:
        assert source.speakers == ("FL", "FR")
