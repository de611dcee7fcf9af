"""All processors keep the contract that is shipped for everybody's."""

import pytest

from musproj.processors._runs.compare_params import CompareParams
from musproj.processors._runs.loop_params import LoopParams
from musproj.processors._runs.mix_params import MixParams
from musproj.processors._runs.normalize_params import NormalizeParams
from musproj.processors._runs.separate_params import SeparateParams
from musproj.processors._runs.transcode_params import TranscodeParams
from musproj.processors._runs.trim_params import TrimParams
from musproj.processors.analyze import AnalyzeParams, analyze
from musproj.processors.compare import compare
from musproj.processors.denoise import denoise
from musproj.processors.enhance import EnhanceParams, enhance
from musproj.processors.loop import loop
from musproj.processors.mix import mix
from musproj.processors.normalize import normalize
from musproj.processors.resample import resample
from musproj.processors.separate import separate
from musproj.processors.transcode import transcode
from musproj.processors.trim import trim
from musproj.processors.waveform import waveform
from musproj.testing.processors import ProcessorContract


class TestAnalyze(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return analyze

    @pytest.fixture
    def params(self):
        return AnalyzeParams(curves=True)


class TestDenoise(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return denoise


class TestNormalize(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return normalize

    @pytest.fixture
    def params(self):
        return NormalizeParams(target_lufs=-14.0)


class TestEnhance(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return enhance

    @pytest.fixture
    def params(self):
        return EnhanceParams(target_lufs=-14.0)  # loud enough that the limiter works


class TestResample(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return resample


class TestTranscode(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return transcode


class TestTranscodeWithLoss(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return transcode

    @pytest.fixture
    def params(self):
        return TranscodeParams(format="ogg")  # whose bytes differ from run to run, unlike its samples


class TestTranscodeToM4a(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return transcode

    @pytest.fixture
    def params(self):
        return TranscodeParams(format="m4a")


class TestTrim(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return trim

    @pytest.fixture
    def params(self):
        return TrimParams(silence="both")


class TestWaveform(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return waveform


class TestMix(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return mix

    @pytest.fixture
    def params(self):
        return MixParams(offset_seconds=0.25)


class TestCompare(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return compare

    @pytest.fixture
    def params(self):
        return CompareParams(match_gain=True)


class TestLoop(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return loop

    @pytest.fixture
    def params(self):
        return LoopParams(min_seconds=0.5, repeat=2)


class TestSeparate(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return separate

    @pytest.fixture
    def params(self):
        return SeparateParams(segment_seconds=10.0)  # whole segments in the shorter of the files that are compared
