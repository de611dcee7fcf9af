"""The OpenAPI document as a page: plain HTML and one style sheet, so that the strictest policy lets it through."""

from collections.abc import Iterator
from html import escape
from typing import Any

Json = dict[str, Any]

POLICY = b"default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

STYLE = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: break-word; }
code, .method { font: 0.9em ui-monospace, monospace; }
details { border: 1px solid #8886; border-radius: 0.4rem; margin: 0.4rem 0; padding: 0.3rem 0.7rem; }
summary { cursor: pointer; }
summary:focus-visible { outline: 2px solid; outline-offset: 2px; }
.method { display: inline-block; min-width: 4.5rem; font-weight: bold; }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.2rem 0.8rem 0.2rem 0; border-top: 1px solid #8886; }
.text { white-space: pre-line; }
"""


def page(document: Json) -> str:
    """Return the whole page."""
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en">',
            '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(document['info']['title'])} API</title>",
            '<link rel="stylesheet" href="docs/style.css"></head>',
            "<body>",
            f"<h1>{escape(document['info']['title'])} {escape(document['info']['version'])}</h1>",
            f'<p class="text">{escape(document["info"]["description"])}</p>',
            '<p>The same for programs: <a href="openapi.json">openapi.json</a></p>',
            *_operations(document),
            "<h2>Schemas</h2>",
            *(_schema(name, schema) for name, schema in document["components"]["schemas"].items()),
            "</body></html>",
        )
    )


def _operations(document: Json) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if operation["tags"] == [tag["name"]]:
                    yield _operation(method, path, operation)


def _operation(method: str, path: str, operation: Json) -> str:
    parts = [
        f'<details id="{escape(operation["operationId"])}">',
        f'<summary><span class="method">{method.upper()}</span> <code>{escape(path)}</code> ',
        f"{escape(operation['summary'])}</summary>",
    ]
    if parameters := operation.get("parameters"):
        rows = (_row(f"{entry['name']} ({entry['in']})", _type(entry["schema"]), entry) for entry in parameters)
        parts.append(_table("Parameter", rows))
    if body := operation.get("requestBody"):
        parts.append(f"<p>Body: {_type(body['content']['application/json']['schema'])}</p>")
    parts.append(_table("Status", (_answer(status, entry) for status, entry in operation["responses"].items())))
    parts.append("</details>")
    return "".join(parts)


def _answer(status: str, entry: Json) -> str:
    content = entry.get("content", {})
    shown = "".join(_type(media["schema"]) for media in content.values())
    return _row(status, shown, entry)


def _schema(name: str, schema: Json) -> str:
    required = schema.get("required", [])
    rows = (
        _row(key if key in required else f"{key}?", _type(entry), entry)
        for key, entry in schema.get("properties", {}).items()
    )
    inside = _table("Key", rows) if "properties" in schema else f"<p>{_type(schema)}</p>"
    text = escape(schema.get("description", ""))
    return (
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code> {text}</summary>{inside}</details>'
    )


def _table(heading: str, rows: Iterator[str]) -> str:
    return f"<table><tr><th>{heading}</th><th>Type</th><th>Meaning</th></tr>{''.join(rows)}</table>"


def _row(name: str, shown: str, entry: Json) -> str:
    text = escape(entry.get("description", ""))
    return f'<tr><td><code>{escape(name)}</code></td><td>{shown}</td><td class="text">{text}</td></tr>'


def _type(schema: Json) -> str:
    """Return a schema in a few words, with links to the named ones."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(option))}</code>" for option in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"{{name: {_type(schema['additionalProperties'])}}}"
    return escape(str(schema.get("format") or schema.get("type") or "any"))
