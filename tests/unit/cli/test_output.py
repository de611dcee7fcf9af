import io
import json
import sys

import pytest

from musproj.cli.output import Fields, Lines, Output, Table


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")

    def look():
        """Let people look at stdout from now on; pytest sets it anew before each phase of a test."""
        monkeypatch.setattr(sys, "stdout", Terminal())
        return sys.stdout

    return look


def show(out, shape):
    out.result("thing", lambda: {"b": 1, "a": "é"}, ids=["one", "two"], shape=lambda form: shape)


def test_a_pipe_gets_rows_separated_by_tabs_and_no_headings(capsys):
    show(Output(), Table(("id", "name"), [("1", "a"), ("2", "b")]))

    assert capsys.readouterr().out == "1\ta\n2\tb\n"


def test_a_pipe_gets_fields_separated_by_tabs(capsys):
    show(Output(), Fields([("name", "x"), ("size", "12")]))

    assert capsys.readouterr().out == "name\tx\nsize\t12\n"


def test_json_is_one_line_of_sorted_keys_with_its_schema(capsys):
    show(Output(as_json=True), Lines(["never"]))

    assert capsys.readouterr().out == '{"a": "\\u00e9", "b": 1, "schema": "musproj.thing/1"}\n'


def test_quiet_prints_ids_alone(capsys):
    show(Output(quiet=True), Lines(["never"]))

    assert capsys.readouterr().out == "one\ntwo\n"


def test_an_event_is_one_line_whoever_reads_it(terminal):
    screen = terminal()
    Output(as_json=True).event("thing", {"a": {"b": 1}})

    assert screen.getvalue().count("\n") == 1
    assert json.loads(screen.getvalue())["schema"] == "musproj.thing/1"


def test_quiet_says_nothing_beside_the_ids(capsys):
    Output(quiet=True).note("by the way")

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "shape", [Table(("id", "name"), [("1", "\x1b[31m\u202e")]), Fields([("name", "\x1b[31m\u202e")])]
)
def test_hostile_names_cannot_steer_a_pipe_or_a_terminal(shape, capsys, terminal):
    show(Output(), shape)
    piped = capsys.readouterr().out
    screen = terminal()
    show(Output(no_color=True), shape)

    for text in (piped, screen.getvalue()):
        assert "\x1b[31m" not in text
        assert "\u202e" not in text
        assert r"\x1b[31m\u202e" in text


def test_a_terminal_gets_headings_in_bold(terminal):
    screen = terminal()
    show(Output(), Table(("id", "name"), [("1", "a")]))

    assert "\x1b[1m" in screen.getvalue()


@pytest.mark.parametrize("quietly", ["flag", "NO_COLOR", "dumb"])
def test_a_terminal_may_refuse_colours(terminal, monkeypatch, quietly):
    if quietly == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    if quietly == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    screen = terminal()
    show(Output(no_color=quietly == "flag"), Table(("id", "name"), [("1", "a")]))

    text = screen.getvalue()
    assert "\x1b[3" not in text, "a colour"
    assert "id" in text


def test_ids_keep_their_length_on_a_narrow_terminal(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    screen = terminal()
    name = "job_01m887fz1marevj8kart6pt10d"
    show(Output(no_color=True), Table(("job", "what"), [(name, "a long story about this job that goes on")]))

    assert name in screen.getvalue()
