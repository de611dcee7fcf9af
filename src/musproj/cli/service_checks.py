"""What `musproj doctor` looks at in accounts at outside services."""

from collections.abc import Iterator
from functools import partial

from musproj import MusProj
from musproj.application.remote_calls import called
from musproj.cli.guarded import guarded
from musproj.ports.findings import Finding
from musproj.ports.remote import CallError, Pause

MANY = 1_000
"""Operations that are looked through."""


def examine_services(mp: MusProj) -> Iterator[Finding]:
    """Yield what is found of each service that has a key here: one call each, which costs nothing."""
    if mp.outside is None:
        return
    pauses = {pause.account: pause for pause in mp.outside.accounts.pauses()}
    for name in sorted(mp.services.configured()):
        yield from guarded(name, partial(_service, mp, name, pauses))
    budgets = {*mp.outside.policy.per_job, *mp.outside.policy.per_day} - mp.services.configured()
    if budgets:
        yield Finding("budgets", "warning", f"of services without a key: {', '.join(sorted(budgets))}", "Is it a typo?")
    if mp.services.names() and not mp.settings.webhook_secret and mp.settings.public_url:
        fix = "Set MUSPROJ_WEBHOOK_SECRET to a long random text."
        yield Finding("webhooks", "ok", "not used: services are asked, which takes a little longer", fix)


def _service(mp: MusProj, name: str, pauses: dict[str, Pause]) -> Iterator[Finding]:
    assert mp.outside is not None
    service = mp.services.open(name)
    account = f"{name}:{service.account}"
    pause = pauses.get(account)
    try:
        left, unit = called(service.balance)
    except CallError as exc:
        yield Finding(name, "problem", exc.message, f"Look at the key and the account of {name}.")
        return
    waiting = mp.outside.accounts.running(name)
    yield Finding(name, "ok" if left > 0 else "problem", f"answers, {left:.4g} {unit} left; jobs there: {waiting}")
    if pause is not None:
        mp.outside.accounts.resume(account)
        yield Finding(f"{name} paused", "warning", f"it was: {pause.fault.message}", "It answers, so it goes on now.")
    stuck = [job for job in mp.metadata.jobs.remotes(limit=MANY, service=name) if job.remote and job.remote.cleanups]
    if stuck:
        yield Finding(f"{name} cleanup", "warning", f"not deleted there yet: {len(stuck)}", "It is tried again.")
