"""Webhooks of outside services: hints that something happened, worth a look and nothing more."""

from musproj.application.remote_hooks import take_hint
from musproj.http.operations import Api, Call, Reply

api = Api()


@api.op("POST", "/hooks/{service}/{jobId}/{mac}", id="takeHint", tag="services", status=204, is_public=True)
def take(call: Call[None, None]) -> Reply[None]:
    """Look at the job's service soon; whatever the body says, nobody reads it.

    Each call is answered alike, so that it tells nothing, and because some services stop calling after a refusal.
    """
    mp = call.mp
    take_hint(
        mp.metadata.jobs, mp.clock, mp.settings.webhook_secret, call.path["service"], call.job_id, call.path["mac"]
    )
    return Reply(cache_control="no-store")
