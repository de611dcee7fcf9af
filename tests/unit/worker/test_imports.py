import subprocess
import sys


def test_a_supervisor_loads_no_audio_library_by_itself(monkeypatch):
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # measuring imports modules of its own
    program = "import sys, musproj.worker; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert {"numpy", "scipy", "soundfile", "soxr", "av", "boto3", "asyncio", "typer", "starlette"} & set(
        loaded
    ) == set()
