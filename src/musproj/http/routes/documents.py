"""The API's description, for programs and for people."""

from musproj.http.docs import POLICY
from musproj.http.operations import Api, Call, Raw, Reply

api = Api()


@api.op(
    "GET",
    "/openapi.json",
    id="getDocument",
    tag="docs",
    pool="loop",
    is_public=True,
    is_hidden=True,
    is_conditional=True,
)
def get_document(call: Call[None, None]) -> Reply[None]:
    """Show the OpenAPI document; the same for every request to this release."""
    pages = call.site.pages
    return Reply(content=Raw(pages.document, "application/json"), etag=pages.etag)


@api.op("GET", "/docs", id="getDocs", tag="docs", pool="loop", is_hidden=True, is_conditional=True)
def get_docs(call: Call[None, None]) -> Reply[None]:
    """Show the document as a page."""
    pages = call.site.pages
    return Reply(
        content=Raw(pages.docs, "text/html; charset=utf-8"),
        etag=pages.etag,
        headers=[(b"content-security-policy", POLICY)],
    )


@api.op("GET", "/docs/style.css", id="getDocsStyle", tag="docs", pool="loop", is_hidden=True, is_conditional=True)
def get_docs_style(call: Call[None, None]) -> Reply[None]:
    """Show the page's style sheet."""
    pages = call.site.pages
    return Reply(content=Raw(pages.style, "text/css; charset=utf-8"), etag=pages.etag)
