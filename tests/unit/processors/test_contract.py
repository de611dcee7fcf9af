"""Both processors keep the contract that is shipped for everybody's."""

import pytest

from musproj.processors.analyze import AnalyzeParams, analyze
from musproj.processors.enhance import EnhanceParams, enhance
from musproj.testing.processors import ProcessorContract


class TestAnalyze(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return analyze

    @pytest.fixture
    def params(self):
        return AnalyzeParams(curves=True)


class TestEnhance(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return enhance

    @pytest.fixture
    def params(self):
        return EnhanceParams(target_lufs=-14.0)  # loud enough that the limiter works
