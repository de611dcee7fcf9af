"""The routes, one module per noun."""

from musproj.http.operations import Api
from musproj.http.routes import assets, documents, hooks, jobs, processors, uploads, versions, wellbeing

API = Api(jobs.api, uploads.api, assets.api, versions.api, processors.api, hooks.api, wellbeing.api, documents.api)
"""The whole API; the most asked for come first, since routes are tried in this order."""
