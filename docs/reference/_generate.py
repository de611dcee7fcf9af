"""Write the pages of this folder that are made from the program: `python docs/reference/_generate.py`.

A test compares the committed pages with what this makes.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs

from musproj.cli import main
from musproj.cli.exit_codes import MEANINGS
from musproj.cli.tree import COMMANDS, GROUPS, build
from musproj.settings import ALIASES, Settings, env_name

HERE = Path(__file__).parent
COLUMNS = "100"

CLI_INTRODUCTION = """\
# The command line

<!-- Made by docs/reference/_generate.py -->

The commands work on the library directly, with the [settings](settings.md) of the server; no server needs to run.
`musproj COMMAND --help` shows what is below, `musproj --install-completion` sets up your shell.

## What is printed

The result goes to stdout, everything else (progress, hints, errors, the log) to stderr. If a command fails, stdout
stays empty, but for the items of several that succeeded.

| | |
|---|---|
| on a terminal | tables, sizes and times for people, a progress bar; `NO_COLOR`, `TERM=dumb` and `--no-color` are respected |
| to a pipe or a file | raw values: rows separated by tabs, without headings; ids are never cut |
| `--json` | one document with sorted keys and the field names of the [HTTP API](http-api.md), and its `schema`, such as `musproj.job/1` |
| `--ndjson` | one such document per line, as soon as it is there |
| `--quiet` | ids only |
| `-v`, `-vv` | the log on stderr: what happens; everything, with the traceback of a bug |

Control characters and bidirectional overrides in names are shown as `\\x1b` or `\\u202e`. Nothing ever asks.

Where a command takes several ids, `-` reads them from stdin and `@file` from a file, one a line; of each line the
first word counts, so a list is good input as it is:

    musproj jobs list --status failed | musproj jobs retry -

An asset is named as `ASSET[@VERSION][/FILE]`: the version is a number, `latest` or `head` (the default), the file one
of the version's, by default its first.

An error is `error[code]: message` and, below it, what mends it; with `--json` one line:
`{"error": {"code": "asset_not_found", "message": "…", "retryable": false}}`. The codes are those of the HTTP API.

## Exit codes

| code | meaning |
|--:|---|
"""

SERVE_NOTES = """
`serve` binds a loopback address unless `MUSPROJ_API_KEY` is set. `--host 0.0.0.0` takes `MUSPROJ_PUBLIC_URL`, or else
the address of the outgoing interface, as what signed URLs begin with, and prints it. Under systemd say
`KillMode=mixed`, so that the one SIGTERM that drains both does not reach the worker twice: a second one ends it at once.
"""

SETTINGS_INTRODUCTION = """\
# Settings

<!-- Made by docs/reference/_generate.py -->

Flags override the environment, the environment overrides `./musproj.toml`, that overrides
`~/.config/musproj/config.toml`, that overrides the default. `musproj config show --origin` tells where each value came
from, `musproj config check` whether all are right. An unknown name is an error that names the nearest one.

In a file a setting has its short name: `port = 8700`, `cors_origins = ["https://app.example"]`. In the environment a
list is separated by commas, and every variable has a twin with `_FILE`, such as `MUSPROJ_API_KEY_FILE`, that names a
file with the value. No secret is a flag, because everybody on the host can read the flags of a process.

| environment | in a file | default | meaning |
|---|---|---|---|
"""


def cli_page() -> str:
    """Return the page about the command line."""
    parts = [CLI_INTRODUCTION]
    parts += [f"| {int(code)} | {meaning} |\n" for code, meaning in MEANINGS.items()]
    parts += ["\n## Commands\n\n", _block(_help())]
    for words in _commands():
        parts += [f"\n### musproj {' '.join(words)}\n\n", _block(_help(*words))]
        parts += [SERVE_NOTES] if words == ("serve",) else []
    return "".join(parts)


def settings_page() -> str:
    """Return the page about the settings."""
    rows = []
    for field in attrs.fields(Settings):
        names = " ".join(f"`{name}`" for name in (env_name(field.name), *ALIASES.get(field.name, ())))
        rows.append(f"| {names} | `{field.name}` | {_default(field.default)} | {field.metadata['text']} |\n")
    return SETTINGS_INTRODUCTION + "".join(rows)


def _commands() -> Iterator[tuple[str, ...]]:
    for name in COMMANDS:
        yield (name,)
        if name in GROUPS:
            (group,) = build(name).registered_groups
            assert group.typer_instance is not None
            yield from ((name, str(command.name)) for command in group.typer_instance.registered_commands)


def _help(*words: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main([*words, "--help"])
    return printed.getvalue()


def _block(text: str) -> str:
    return f"```text\n{text.strip()}\n```\n"


def _default(value: object) -> str:
    if value is None or value in ("", ()):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    os.environ["COLUMNS"] = COLUMNS  # noqa: TID251 - of the help, not a setting
    (HERE / "cli.md").write_text(cli_page(), encoding="utf-8")
    (HERE / "settings.md").write_text(settings_page(), encoding="utf-8")
    sys.exit(0)
