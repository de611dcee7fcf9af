"""The page that shows the document."""

import re
from html.parser import HTMLParser

import pytest

from musproj.http import docs

VOID = {"meta", "link"}


class Reader(HTMLParser):
    """Notes every element, and that each one is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.elements = [], []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def page(api):
    return api.get("/docs")


@pytest.fixture
def elements(page):
    reader = Reader()
    reader.feed(page.text.removeprefix("<!doctype html>"))
    assert reader.open == []
    return reader.elements


def test_the_page_stands_under_the_strictest_policy(page, elements):
    policy = page.headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not [tag for tag, _ in elements if tag in ("script", "style", "iframe", "object", "img")]
    assert not [attrs for _, attrs in elements if any(name.startswith("on") or name == "style" for name in attrs)]


def test_nothing_comes_from_elsewhere(api, elements):
    targets = [attrs.get("href") or attrs.get("src") for _, attrs in elements]
    files = {target for target in targets if target and not target.startswith("#")}

    assert files == {"docs/style.css", "openapi.json"}
    for file in files:
        assert api.get(f"/{file}").status_code == 200
    assert "url(" not in docs.STYLE
    assert "@import" not in docs.STYLE


def test_every_operation_and_every_link_is_there(api, page, elements):
    ids = {attrs["id"] for _, attrs in elements if "id" in attrs}
    links = {attrs["href"][1:] for _, attrs in elements if attrs.get("href", "").startswith("#")}
    document = api.get("/openapi.json").json()
    operations = {entry["operationId"] for methods in document["paths"].values() for entry in methods.values()}

    assert operations <= ids
    assert links <= ids
    assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_what_the_document_says_is_text_and_no_markup():
    operation = {"operationId": "x", "tags": ["<b>"], "summary": "<img onerror=x>", "responses": {}}
    document = {
        "info": {"title": "<script>", "version": "1", "description": "a & b"},
        "tags": [{"name": "<b>", "description": "</p>"}],
        "paths": {"/{<i>}": {"get": operation}},
        "components": {"schemas": {"<u>": {"type": "object", "properties": {"<s>": {"enum": ["<q>"]}}}}},
    }

    text = docs.page(document)

    assert not re.search(r"<(script|img|b|i|u|s|q)\b", text)
    assert "a &amp; b" in text
