"""What holds for every command alike."""

import json
import re

import pytest

from musproj.cli.tree import COMMANDS, GROUPS, build


def commands():
    for name in COMMANDS:
        if name in GROUPS:
            (group,) = build(name).registered_groups
            yield from ((name, command.name) for command in group.typer_instance.registered_commands)
        else:
            yield (name,)


EVERY = list(commands())

SAMPLES = {
    ("work",): ("--burst", "--isolation", "inline"),
    ("upload",): ("take.wav",),
    ("download",): ("ASSET", "-o", "out.wav"),
    ("submit",): ("analyze", "ASSET", "--force"),
    ("run",): ("analyze", "take.wav"),
    ("assets", "list"): (),
    ("assets", "show"): ("ASSET",),
    ("assets", "versions"): ("ASSET",),
    ("assets", "rename"): ("ASSET", "Take two"),
    ("assets", "promote"): ("ASSET", "1"),
    ("assets", "delete"): ("ASSET",),
    ("assets", "undelete"): ("ASSET",),
    ("jobs", "list"): (),
    ("jobs", "show"): ("DONE",),
    ("jobs", "watch"): ("DONE",),
    ("jobs", "cancel"): ("WAITING",),
    ("jobs", "retry"): ("WAITING",),
    ("processors", "list"): (),
    ("processors", "show"): ("enhance",),
    ("presets", "list"): (),
    ("presets", "show"): ("podcast",),
    ("doctor",): (),
    ("gc",): (),
    ("config", "show"): ("--origin",),
    ("config", "check"): (),
    ("help",): ("exit-codes",),
    ("version",): (),
}
"""Command → what to give it; the others start processes, see tests/e2e."""


@pytest.fixture
def sample(cli, asset, waiting_job, done_job):
    """Return the words of a command that does something."""
    known = {"ASSET": asset, "DONE": done_job, "WAITING": waiting_job}

    def words(command):
        if command == ("assets", "undelete"):
            cli("assets", "delete", asset)
        if command == ("jobs", "retry"):
            cli("jobs", "cancel", waiting_job)
        return [*command, *(known.get(word, word) for word in SAMPLES[command])]

    return words


def test_every_command_has_a_sample():
    assert {*SAMPLES, ("serve",), ("demo",)} == set(EVERY)


@pytest.mark.parametrize("command", SAMPLES, ids=" ".join)
def test_json_is_one_document_with_sorted_keys_and_a_schema(cli, sample, command):
    result = cli(*sample(command), "--json")

    assert result.code == 0
    (line,) = result.out.splitlines()
    document = json.loads(line)
    assert line == json.dumps(document, sort_keys=True)
    assert re.fullmatch(r"musproj\.[a-zA-Z]+/1", document["schema"])
    assert "null" not in line


@pytest.mark.parametrize("command", SAMPLES, ids=" ".join)
def test_without_a_terminal_there_is_no_colour_and_no_bar(cli, sample, command):
    result = cli(*sample(command))

    assert result.code == 0
    assert "\x1b" not in result.out + result.err
    assert "\r" not in result.out + result.err


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_help_shows_an_example_and_every_shared_flag(cli, command):
    result = cli(*command, "--help")

    assert (result.code, result.err) == (0, "")
    assert "Example:\n    musproj " in result.out
    for flag in ("--json", "--quiet", "--verbose", "--no-color", "--data"):
        assert flag in result.out


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_the_summary_of_a_command_fits_into_the_list(cli, command):
    listing = cli(*command[:-1], "--help").out.partition("Commands:")[2]

    assert re.search(rf"^  {command[-1]} .*\w", listing, re.MULTILINE)
    assert "..." not in listing


@pytest.mark.parametrize("group", sorted(GROUPS - {"processors", "presets"}))
def test_a_group_alone_shows_its_help(cli, group):
    result = cli(group)

    assert "Commands:" in result.out + result.err


@pytest.mark.parametrize("flags", [(), ("--json",), ("-q",)])
@pytest.mark.parametrize("group", ["processors", "presets"])
def test_what_an_installation_has_is_listed_by_the_group_alone(installed, cli, group, flags):
    assert cli(group, *flags).out == cli(group, "list", *flags).out != ""


def test_no_command_shows_the_help(cli):
    assert cli().out == cli("--help").out
    assert cli().code == 0


def test_help_of_a_command_is_its_help(cli):
    assert cli("help", "jobs", "watch").out == cli("jobs", "watch", "--help").out
    assert cli("help", "nonsense").code == 2


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


def test_an_error_is_a_line_and_a_hint(cli):
    result = cli("jobs", "show", "not an id")

    assert result.err == (
        "error[validation_failed]: 'not an id' is no job id.\n  hint: Ids look like job_01m887fz1marevj8kart6pt10d.\n"
    )


@pytest.mark.parametrize("flag", ["--json", "--ndjson"])
def test_an_error_in_json_is_one_line(cli, flag):
    result = cli("jobs", "list", flag, "--status", "nonsense")

    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1
    assert result.error["code"] == "validation_failed"
    assert result.error["retryable"] is False


def test_wrong_parameters_are_all_named(cli, asset):
    result = cli("submit", "enhance", asset, "-p", "targetLufs=5", "-p", "highpassHz=-1", "--json")

    assert result.code == 2
    assert [place["pointer"] for place in result.error["errors"]] == ["/params/targetLufs", "/params/highpassHz"]


# ── names that try to look like something else ───────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "shown"),
    [("\x1b[31mred", "\\x1b[31mred"), ("two\nlines", "two\\x0alines"), ("abc\u202egnp.wav", "abc\\u202egnp.wav")],
)
def test_hostile_names_are_shown_as_what_they_are(cli, asset, name, shown):
    answer = cli("assets", "rename", asset, name)
    if answer.code != 0:  # the library itself refuses some of them
        assert name not in answer.err
        return

    for words in (("assets", "list"), ("assets", "show", asset), ("assets", "list", "--json")):
        result = cli(*words)
        assert name not in result.out
    assert shown in cli("assets", "list").out
    assert cli("assets", "show", asset, "--json").document["name"] == name


def test_a_hostile_word_in_an_error_cannot_steer_the_terminal(cli):
    result = cli("jobs", "show", "\x1b[2Jgone")

    assert "\x1b" not in result.err
