"""AIFF, CAF, FLAC, MP3, Ogg and M4A: what is read, and how damage is told."""

import math
import struct
from fractions import Fraction

import numpy as np
import pytest

from musproj.errors import (
    AudioCorruptError,
    AudioEmptyError,
    AudioTruncatedError,
    LimitExceededError,
    NonFiniteError,
    UnsupportedFormatError,
)
from musproj.processors import blocks
from musproj.processors.probe import probe_file
from musproj.testing import tones
from musproj.testing.processors import decode, peak_growth_kib

RATE = 44_100
FRAMES = 4_410
PCM = (np.arange(2 * FRAMES) % 3_000 - 1_500).astype(">i2")
PCM_BYTES = PCM.tobytes()


# ── AIFF ─────────────────────────────────────────────────────────────────────────────────────────


def extended(value):
    """Return an 80-bit float."""
    if not math.isfinite(value):
        return b"\x7f\xff" + (0 if math.isinf(value) else 1).to_bytes(8, "big")
    exponent = math.frexp(value)[1] - 1 if value else -16_383
    return struct.pack(">HQ", exponent + 16_383, int(value * 2 ** (63 - exponent)) if value else 0)


def big(name, body, claimed=None):
    return tones.chunk(name, body, claimed, order=">")


def common(channels=2, frames=FRAMES, bits=16, rate=44_100.0, compression=b""):
    return struct.pack(">HIH", channels, frames, bits) + extended(rate) + compression


def aiff(*chunks, kind=b"AIFF"):
    body = kind + b"".join(chunks)
    return b"FORM" + struct.pack(">I", len(body)) + body


SOUND = big(b"SSND", bytes(8) + PCM.tobytes())


@pytest.mark.parametrize(
    "data",
    [
        aiff(big(b"COMM", common()), SOUND),
        aiff(SOUND, big(b"COMM", common())),
        aiff(big(b"NAME", b"odd"), big(b"COMM", common()), SOUND),
        aiff(big(b"COMM", common(compression=b"NONE\0\0")), SOUND, kind=b"AIFC"),
        aiff(big(b"COMM", common()), big(b"SSND", struct.pack(">II", 4, 0) + b"skip" + PCM.tobytes())),
        aiff(
            big(b"COMM", common(compression=b"sowt\0\0")),
            big(b"SSND", bytes(8) + PCM.astype("<i2").tobytes()),
            kind=b"AIFC",
        ),
    ],
)
def test_aiff_is_read(file, ctx, data):
    path = file(data)
    info = probe_file(path)
    assert (info.container, info.sample_rate, info.channels, info.frames) == ("aiff", RATE, 2, FRAMES)
    with blocks.reader(path, ctx, dtype="int16") as source:
        assert np.array_equal(np.concatenate([block.copy() for _, block in source]).ravel(), PCM)
    assert ctx.warnings == []


def test_aiff_floats_are_read(file):
    values = np.linspace(-1, 1, 2 * FRAMES).astype(">f4")
    data = aiff(
        big(b"COMM", common(bits=32, compression=b"fl32\0\0")), big(b"SSND", bytes(8) + values.tobytes()), kind=b"AIFC"
    )
    assert np.array_equal(decode(file(data)).ravel(), values.astype(np.float32))


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_aiff_samples_equal_libsndfiles(tmp_path, subtype):
    import soundfile

    path = tmp_path / "any.aiff"
    soundfile.write(path, np.random.default_rng(3).uniform(-1, 1, (3_000, 2)), RATE, subtype=subtype)
    assert np.array_equal(decode(path), soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (aiff(), AudioCorruptError),
        (aiff(SOUND), AudioCorruptError),
        (aiff(big(b"COMM", common())), AudioCorruptError),
        (aiff(big(b"COMM", common()[:10]), SOUND), AudioCorruptError),
        (aiff(big(b"COMM", common()), SOUND, SOUND), AudioCorruptError),
        (aiff(big(b"COMM", common(channels=0)), SOUND), AudioCorruptError),
        (aiff(big(b"COMM", common(bits=64)), SOUND), AudioCorruptError),
        (aiff(big(b"COMM", common(rate=0)), SOUND), AudioCorruptError),
        (aiff(big(b"COMM", common(rate=2.0**70)), SOUND), AudioCorruptError),
        (aiff(big(b"COMM", common(rate=math.inf)), SOUND), NonFiniteError),
        (aiff(big(b"COMM", common(rate=math.nan)), SOUND), NonFiniteError),
        (aiff(big(b"COMM", common(channels=9)), SOUND), LimitExceededError),
        (aiff(big(b"COMM", common(rate=1_000_000)), SOUND), LimitExceededError),
        (aiff(big(b"COMM", common(bits=4)), SOUND), UnsupportedFormatError),
        (aiff(big(b"COMM", common(compression=b"ima4\0\0")), SOUND, kind=b"AIFC"), UnsupportedFormatError),
        (aiff(big(b"COMM", common(frames=0)), big(b"SSND", bytes(8))), AudioEmptyError),
        (aiff(big(b"COMM", common(frames=0))), AudioEmptyError),
        (aiff(big(b"COMM", common()), big(b"SSND", struct.pack(">II", 2**31, 0) + PCM.tobytes())), AudioCorruptError),
        (aiff(big(b"ABCD", b"") * 70_000), AudioCorruptError),
    ],
)
def test_a_bad_aiff_is_refused(file, data, error):
    with pytest.raises(error):
        probe_file(file(data))


def test_a_cut_aiff_gives_what_is_there(file, ctx):
    path = file(aiff(big(b"COMM", common()), SOUND)[:-8_000])
    with blocks.reader(path, ctx) as source:
        assert sum(len(block) for _, block in source) == FRAMES - 2_000
    assert ctx.codes() == ["truncated"]


def test_an_aiff_that_left_its_frames_open_is_read_to_the_end(file, ctx):
    with blocks.reader(file(aiff(big(b"COMM", common(frames=0)), SOUND)), ctx) as source:
        assert sum(len(block) for _, block in source) == FRAMES
    assert ctx.codes() == ["unknownLength"]


# ── CAF ──────────────────────────────────────────────────────────────────────────────────────────


def caf(*parts, data=PCM_BYTES, size=None, codec=b"lpcm", flags=0, rate=44_100.0, channels=2, bits=16):
    desc = struct.pack(">d4sIIIII", rate, codec, flags, channels * bits // 8, 1, channels, bits)
    body = bytes(4) + data
    return b"".join(
        (
            b"caff\0\1\0\0",
            b"desc" + struct.pack(">q", len(desc)) + desc,
            *parts,
            b"data" + struct.pack(">q", len(body) if size is None else size) + body,
        )
    )


@pytest.mark.parametrize(
    ("data", "warnings"),
    [
        (caf(), []),
        (caf(flags=2, data=PCM.astype("<i2").tobytes()), []),
        (caf(b"free" + struct.pack(">q", 100) + bytes(100)), []),
        (caf(size=-1), ["unknownLength"]),
        (caf(size=2**62), ["truncated"]),
    ],
)
def test_caf_is_read(file, ctx, data, warnings):
    path = file(data)
    assert probe_file(path).frames == FRAMES
    with blocks.reader(path, ctx, dtype="int16") as source:
        assert np.array_equal(np.concatenate([block.copy() for _, block in source]).ravel(), PCM)
    assert ctx.codes() == warnings


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_caf_samples_equal_libsndfiles(tmp_path, subtype):
    import soundfile

    path = tmp_path / "any.caf"
    soundfile.write(path, np.random.default_rng(3).uniform(-1, 1, (3_000, 2)), RATE, subtype=subtype)
    assert np.array_equal(decode(path), soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"caff\0\1\0\0", AudioCorruptError),
        (caf()[:40], AudioCorruptError),
        (caf()[:52], AudioCorruptError),
        (caf(channels=0), AudioCorruptError),
        (caf(rate=0.0), AudioCorruptError),
        (caf(rate=-5.0), AudioCorruptError),
        (caf(rate=1e300), AudioCorruptError),
        (caf(rate=math.nan), NonFiniteError),
        (caf(rate=math.inf), NonFiniteError),
        (caf(bits=40), AudioCorruptError),
        (caf(flags=1, bits=16), AudioCorruptError),
        (caf(rate=1.0), LimitExceededError),
        (caf(channels=100), LimitExceededError),
        (caf(data=b""), AudioEmptyError),
        (caf(b"free" + struct.pack(">q", -1)), AudioCorruptError),
        (caf(*[b"free" + bytes(8)] * 70_000), AudioCorruptError),
        (caf() + b"data" + struct.pack(">q", 4) + bytes(4), AudioCorruptError),
    ],
)
def test_a_bad_caf_is_refused(file, data, error):
    with pytest.raises(error):
        probe_file(file(data))


# ── FLAC ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def flac(tmp_path):
    path = tones.write(tmp_path / "real.flac", tones.music(3.0), RATE, "PCM_16")
    return path.read_bytes()


def claim_frames(data, frames):
    """Return a FLAC whose STREAMINFO claims `frames`."""
    packed = int.from_bytes(data[18:26], "big")
    return data[:18] + (packed >> 36 << 36 | frames).to_bytes(8, "big") + data[26:]


def test_flac_is_exact(file, flac):
    path = file(flac)
    info = probe_file(path)
    assert (info.codec, info.sample_rate, info.channels, info.frames, info.bits) == ("flac", RATE, 2, 3 * RATE, 16)
    expected = np.rint(tones.music(3.0).astype(np.float64) * 2**15) / 2**15
    assert np.array_equal(decode(path), expected.astype(np.float32))


def test_flac_behind_an_id3_tag_is_read(file, flac):
    path = file(b"ID3\x04\0\0\0\0\x01\x00" + bytes(128) + flac)
    assert probe_file(path).frames == 3 * RATE
    assert len(decode(path)) == 3 * RATE


def test_a_flac_that_claims_weeks_is_refused_without_taking_memory(file, flac):
    path = file(claim_frames(flac, 2**36 - 1))

    def attempt():
        with pytest.raises(LimitExceededError):
            probe_file(path)

    assert peak_growth_kib(attempt) < 32 * 1_024


def test_a_flac_that_claims_more_than_it_has_gives_what_decodes(file, ctx, flac):
    with blocks.reader(file(claim_frames(flac, 3_600 * RATE)), ctx) as source:
        assert sum(len(block) for _, block in source) == 3 * RATE
    assert ctx.codes() == ["truncated"]


def test_a_flac_of_unknown_length_is_read_to_its_end(file, ctx, flac):
    with blocks.reader(file(claim_frames(flac, 0)), ctx) as source:
        assert source.frames is None
        assert sum(len(block) for _, block in source) == 3 * RATE
    assert ctx.warnings == []


def test_a_cut_flac_gives_its_whole_blocks(file, ctx, flac):
    path = file(flac[: len(flac) // 2])
    with blocks.reader(path, ctx) as source:
        got = np.concatenate([block.copy() for _, block in source])
    assert RATE < len(got) < 2 * RATE
    assert np.array_equal(got, decode(file(flac))[: len(got)])
    assert ctx.codes() == ["truncated"]
    with pytest.raises(AudioTruncatedError), blocks.reader(path, strict=True) as source:
        list(source)


@pytest.mark.parametrize("size", [42, 200])
def test_a_flac_without_a_whole_block_is_corrupt(file, flac, size):
    with pytest.raises(AudioCorruptError):
        probe_file(file(flac[:size]))


def test_damage_in_the_middle_of_a_flac_is_not_passed_over(file, flac):
    middle = len(flac) // 2
    with pytest.raises(AudioCorruptError):
        decode(file(flac[:middle] + bytes(b ^ 0x5A for b in flac[middle : middle + 200]) + flac[middle + 200 :]))


# ── MP3, Ogg ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def mp3(tmp_path):
    return tones.write(tmp_path / "real.mp3", tones.music(3.0), RATE, None).read_bytes()


def test_mp3_is_the_same_in_any_block_size(file, mp3):
    path = file(mp3)
    results = []
    for size in (1_000, 65_536):
        with blocks.reader(path, block_frames=size) as source:
            results.append(np.concatenate([block.copy() for _, block in source]))
    assert np.array_equal(*results)
    assert abs(len(results[0]) - 3 * RATE) < 2_400


def test_mp3_behind_zeros_is_read(file, ctx, mp3):
    with blocks.reader(file(bytes(3_000) + mp3), ctx) as source:
        assert abs(sum(len(block) for _, block in source) - 3 * RATE) < 2_400
    assert ctx.codes()[0] == "headerInconsistent"


def test_a_cut_mp3_gives_what_is_there(file, ctx, mp3):
    with blocks.reader(file(mp3[: len(mp3) // 2]), ctx) as source:
        assert RATE < sum(len(block) for _, block in source) < 2 * RATE
    assert ctx.codes() == ["truncated"]


def test_an_mp3_that_is_all_tag_is_corrupt(file):
    with pytest.raises(AudioCorruptError):
        probe_file(file(b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(10_000)))


@pytest.mark.parametrize(("name", "rate"), [("real.ogg", 44_100), ("real.opus", 48_000)])
def test_ogg_is_read(tmp_path, name, rate):
    path = tones.write(tmp_path / name, tones.music(2.0, rate), rate, None)
    info = probe_file(path)
    assert (info.container, info.sample_rate, info.channels, info.frames) == ("ogg", rate, 2, 2 * rate)
    assert len(decode(path)) == 2 * rate


def test_vorbis_surround_comes_in_the_order_of_wave(tmp_path):
    import soundfile

    levels = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    tone = np.sin(2 * np.pi * 1_000 * np.arange(48_000) / 48_000)[:, None] * levels
    path = tmp_path / "surround.ogg"
    with soundfile.SoundFile(path, "w", 48_000, 6, "VORBIS", format="OGG") as sink:
        for at in range(0, 48_000, 4_096):
            sink.write(tone[at : at + 4_096])  # libsndfile takes the channels in Vorbis' order: L C R Ls Rs LFE
    peaks = np.abs(decode(path)[10_000:40_000]).max(axis=0)
    assert np.allclose(peaks, [0.1, 0.3, 0.2, 0.0, 0.4, 0.5], atol=0.03)  # Vorbis low-passes the LFE


@pytest.mark.parametrize("magic", [b"OggS" + bytes(100), b"fLaC" + bytes(100), b"\xff\xfb\x90\x00" + bytes(2_000)])
def test_a_magic_without_a_codec_is_corrupt(file, magic):
    with pytest.raises(AudioCorruptError):
        probe_file(file(magic))


def test_wave64_is_outside_the_allow_list(file):
    with pytest.raises(UnsupportedFormatError):
        probe_file(file(b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00" + bytes(200)))


# ── through PyAV ─────────────────────────────────────────────────────────────────────────────────


def encode(path, container, codec, samples, rate=RATE, sample_format="fltp", layout="stereo"):
    """Write `samples` with FFmpeg's own encoder."""
    import av

    with av.open(str(path), "w", format=container) as sink:
        stream = sink.add_stream(codec, rate=rate, layout=layout)
        stream.codec_context.format = sample_format
        size = 1_024 if codec == "aac" else 4_096
        for at in range(0, len(samples), size):
            part = samples[at : at + size].T
            if sample_format != "fltp":
                part = np.rint(part * 2**15).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format=sample_format, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "container"), [("x.m4a", "ipod"), ("x.mov", "mov"), ("x.caf", "caf")])
def test_alac_is_exact(tmp_path, name, container):
    samples = np.rint(tones.music(2.0).astype(np.float64) * 2**15) / 2**15
    path = encode(tmp_path / name, container, "alac", samples, sample_format="s16p")
    info = probe_file(path)
    assert (info.codec, info.sample_rate, info.channels) == ("alac", RATE, 2)
    assert np.array_equal(decode(path), samples.astype(np.float32))
    with blocks.reader(path, dtype="int16") as source:
        assert np.array_equal(np.concatenate([b.copy() for _, b in source]), np.rint(samples * 2**15))


@pytest.mark.parametrize(("name", "container"), [("x.m4a", "ipod"), ("x.aac", "adts"), ("x.mp4", "mp4")])
def test_aac_is_read(tmp_path, name, container):
    samples = tones.music(2.0)
    path = encode(tmp_path / name, container, "aac", samples)
    info = probe_file(path)
    assert (info.codec, info.sample_rate, info.channels) == ("aac", RATE, 2)
    got = decode(path)
    assert abs(len(got) - 2 * RATE) <= 4_096
    assert 0.5 < np.sqrt(np.mean(got**2)) / np.sqrt(np.mean(samples**2)) < 1.5


def packet_size(number):
    """Return a size as CAF's packet table has it: 7 bits a byte, the highest first."""
    out = [number & 127]
    while number := number >> 7:
        out.append(number & 127 | 128)
    return bytes(reversed(out))


def caf_chunk(name, body):
    return name + struct.pack(">q", len(body)) + body


def test_aac_in_caf_as_ios_records_it_is_read(tmp_path, file):
    import av

    samples = tones.music(2.0)
    with av.open(str(encode(tmp_path / "x.m4a", "ipod", "aac", samples))) as source:
        stream = source.streams.audio[0]
        config = bytes(stream.codec_context.extradata)
        packets = [bytes(packet) for packet in source.demux(stream) if packet.size]
    decoder = b"\x40\x15" + bytes(11) + b"\x05" + bytes([len(config)]) + config
    descriptor = bytes(3) + b"\x04" + bytes([len(decoder)]) + decoder + b"\x06\x01\x02"
    cookie = b"\x03\x80\x80\x80" + bytes([len(descriptor)]) + descriptor  # Core Audio writes lengths in four bytes
    frames, priming = len(samples), 1_024
    table = struct.pack(">qqii", len(packets), frames, priming, len(packets) * 1_024 - frames - priming)
    path = file(
        b"caff\0\1\0\0"
        + caf_chunk(b"desc", struct.pack(">d4sIIIII", 44_100.0, b"aac ", 2, 0, 1_024, 2, 0))
        + caf_chunk(b"kuki", cookie)
        + caf_chunk(b"data", bytes(4) + b"".join(packets))
        + caf_chunk(b"pakt", table + b"".join(packet_size(len(packet)) for packet in packets))
    )
    info = probe_file(path)
    assert (info.container, info.codec, info.frames) == ("caf", "aac", frames)
    got = decode(path)
    assert len(got) == frames
    assert np.corrcoef(got[:, 0], samples[:, 0])[0, 1] > 0.9  # neither late nor early


def test_aac_comes_in_blocks_of_the_size_asked_for(tmp_path):
    path = encode(tmp_path / "x.m4a", "ipod", "aac", tones.music(2.0))
    with blocks.reader(path, block_frames=10_000) as source:
        sizes = [len(block) for _, block in source]
    assert set(sizes[:-1]) == {10_000}


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_cut_m4a_has_lost_its_index(tmp_path, file, share):
    data = encode(tmp_path / "x.m4a", "ipod", "aac", tones.music(2.0)).read_bytes()
    with pytest.raises(AudioCorruptError):
        probe_file(file(data[: int(len(data) * share)]))


def test_a_film_without_sound_is_unsupported(tmp_path):
    import av

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        sink.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        sink.mux(stream.encode(None))
    with pytest.raises(UnsupportedFormatError):
        probe_file(path)
