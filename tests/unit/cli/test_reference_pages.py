import importlib.util
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[3] / "docs/reference"
HINT = "write them anew with: python docs/reference/_generate.py"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("_generate", REFERENCE / "_generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_command_line_is_what_the_program_says(generate, monkeypatch):
    monkeypatch.setenv("COLUMNS", generate.COLUMNS)

    assert (REFERENCE / "cli.md").read_text() == generate.cli_page(), HINT


def test_the_page_of_the_settings_is_what_the_class_says(generate):
    assert (REFERENCE / "settings.md").read_text() == generate.settings_page(), HINT
