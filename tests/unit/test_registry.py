import sys

import attrs
import pytest

from musproj.errors import MissingExtraError, UnknownJobTypeError, UnknownPluginError
from musproj.ports.processor import Outcome, ProcessorSpec
from musproj.registry import BUILT_IN, PROCESSORS, STORAGE, ProcessorCatalog, load, missing_modules, names, require


@attrs.frozen
class NoParams:
    pass


class Echo:
    spec = ProcessorSpec(name="echo", version="1", params=NoParams)

    def run(self, inputs, params, ctx):
        return Outcome()


class Needy:
    spec = ProcessorSpec(name="needy", version="1", params=NoParams, requires=("no_such_module",))

    def run(self, inputs, params, ctx):
        return Outcome()


def test_a_built_in_name_needs_no_entry_points():
    assert load(STORAGE, "memory").__name__ == "open_storage"


def test_a_dotted_name_is_taken_as_it_is():
    assert load(PROCESSORS, "musproj.errors:MusProjError").code == "internal"


@pytest.mark.parametrize("name", ["floppy", "no.such.module:thing", "musproj.errors:Nothing"])
def test_what_is_not_there_is_named(name):
    with pytest.raises(UnknownPluginError, match=name.partition(":")[0].partition(".")[0]):
        load(STORAGE, name)


def test_the_nearest_name_is_suggested():
    with pytest.raises(UnknownPluginError) as caught:
        load(STORAGE, "memroy")
    assert caught.value.hint == "Did you mean 'memory'?"
    assert set(BUILT_IN[STORAGE]) <= set(names(STORAGE))


def test_given_processors_win_and_are_listed():
    echo = Echo()
    catalog = ProcessorCatalog(extra=(echo, Needy()))
    assert catalog.get("echo") is echo
    listed = [spec.name for spec in catalog.specs()]
    assert listed == sorted(listed)
    assert {"echo", "needy"} <= set(listed)
    assert "echo" in catalog.runnable()
    assert "needy" not in catalog.runnable()


def test_an_unknown_processor_names_the_nearest():
    with pytest.raises(UnknownJobTypeError) as caught:
        ProcessorCatalog(extra=(Echo(),)).get("ecko")
    assert caught.value.hint == "Did you mean 'echo'?"


def test_a_processor_that_does_not_load_is_a_plugin_with_its_error(monkeypatch):
    from musproj import registry

    monkeypatch.setattr(registry, "_entry_points", lambda _group: {"broken": "no_such_package:thing"})
    catalog = ProcessorCatalog(extra=(Echo(),))
    plugins = {plugin.name: plugin for plugin in catalog.plugins()}
    assert "no_such_package" in (plugins["broken"].error or "")
    assert plugins["echo"].error is None
    assert "broken" not in [spec.name for spec in catalog.specs()]


def test_missing_modules_are_found_without_importing_them():
    assert missing_modules(["json", "no_such_module"]) == ["no_such_module"]
    require("json", "audio")
    with pytest.raises(MissingExtraError, match=r"pip install 'musproj\[codecs\]'"):
        require("no_such_module", "codecs")


def test_a_job_type_from_a_client_never_imports_a_module():
    with pytest.raises(UnknownJobTypeError):
        ProcessorCatalog().get("this:s")
    assert "this" not in sys.modules
