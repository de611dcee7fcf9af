"""What the package promises as a whole: its version, its public names, its typing marker."""

import ast
import importlib
import pkgutil
import re
from importlib import metadata, resources
from pathlib import Path

import pytest

import musproj
from musproj._version import __version__

ROOT = Path(__file__).parents[2]


def test_the_version_is_the_newest_heading_of_the_changelog():
    headings = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert headings[0] == __version__ == metadata.version("musproj")


def test_all_lists_exactly_the_public_names():
    tree = ast.parse(Path(musproj.__file__).read_text(encoding="utf-8"))
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    } - {"musproj._version.__version__"}

    assert len(musproj.__all__) == len(set(musproj.__all__))
    assert {f"{home}.{name}" for name, home in musproj._HOMES.items()} == imported
    assert set(musproj._HOMES) == set(musproj.__all__) - {"__version__"}


@pytest.mark.parametrize("name", musproj.__all__)
def test_every_public_name_is_there_and_documented(name):
    found = getattr(musproj, name)

    assert found is getattr(musproj, name)
    assert not isinstance(found, type) or found.__doc__


def test_the_package_says_that_it_is_typed():
    assert resources.files("musproj").joinpath("py.typed").is_file()


def test_every_folder_of_the_package_is_a_regular_package():
    """Namespace packages would slip past the layer rules and out of the wheel's listing."""
    package = Path(musproj.__file__).parent
    with_modules = {path.parent for path in package.rglob("*.py")}

    assert [str(folder) for folder in with_modules if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("package", ["musproj.domain", "musproj.ports", "musproj.application"])
def test_the_core_imports_without_any_extra(package):
    """Run by `nox -s minimal` where nothing but attrs is installed."""
    module = importlib.import_module(package)

    for found in pkgutil.walk_packages(module.__path__, prefix=f"{package}."):
        importlib.import_module(found.name)
