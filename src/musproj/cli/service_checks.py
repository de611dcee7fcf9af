"""What `musproj doctor` looks at in accounts at outside services."""

from collections.abc import Iterator
from functools import partial

import attrs

from musproj import MusProj, Settings
from musproj.application.remote_calls import called
from musproj.cli.guarded import guarded
from musproj.composition import open_catalog, profiles_of
from musproj.ports.findings import Finding
from musproj.ports.remote import CallClass, CallError, RemoteAccounts
from musproj.services import ConfiguredServices, policy_of

MANY = 1_000
"""Operations that are looked through."""


def examine_services(mp: MusProj) -> Iterator[Finding]:
    """Yield what is found of each service that has a key here: one call each, which costs nothing."""
    if mp.outside is None:
        return
    for name in sorted(mp.services.configured()):
        yield from guarded(name, partial(_used, mp, mp.outside.accounts, name))
    if mp.services.names() and not mp.settings.webhook_secret and mp.settings.public_url:
        fix = "Set MUSPROJ_WEBHOOK_SECRET to a long random text."
        yield Finding("webhooks", "ok", "not used: services are asked, which takes a little longer", fix)
    yield from _budgets(mp.settings, mp.services)


def examine_keys(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of each service where there are no records yet."""
    services = ConfiguredServices(settings, profiles_of(open_catalog(settings).extra))
    try:
        for name in sorted(services.configured()):
            yield from guarded(name, partial(_key, services, name))
        yield from _budgets(settings, services)
    finally:
        services.close()


def _key(services: ConfiguredServices, name: str) -> Iterator[Finding]:
    finding, _ = _asked(services, name)
    yield finding


def _asked(services: ConfiguredServices, name: str) -> tuple[Finding, bool]:
    """Return what is left on the account, and whether it answered."""
    service = services.open(name)
    try:
        balance = called(service.balance)
    except CallError as exc:
        is_there = exc.kind in (CallClass.AUTH, CallClass.QUOTA, CallClass.REJECTED)
        where = "key and the account" if is_there else "address, and whether it can be reached: the one"
        return Finding(name, "problem", exc.message, f"Look at the {where} of {name}."), False
    if balance is not None:
        left, unit = balance
        return Finding(name, "ok" if left > 0 else "problem", f"answers; left: {left:.6g} {unit}"), True
    if service.caps.tells_balance:
        fix = f"Look at the account of {name}."
        return Finding(name, "warning", "answers, but what is left cannot be read from its answer", fix), True
    return Finding(name, "ok", "not asked: it tells no balance"), False


def _used(mp: MusProj, accounts: RemoteAccounts, name: str) -> Iterator[Finding]:
    service = mp.services.open(name)
    finding, has_answered = _asked(mp.services, name)
    works = has_answered and finding.status != "problem"
    yield attrs.evolve(finding, detail=f"{finding.detail}; jobs there: {accounts.running(name)}")
    pause = next((pause for pause in accounts.pauses() if pause.account == service.key), None)
    if pause is not None and works:
        accounts.resume(service.key)
        yield Finding(f"{name} paused", "warning", f"it was: {pause.fault.message}", "It answers, so it goes on now.")
    elif pause is not None:
        yield Finding(f"{name} paused", "problem", pause.fault.message, "Its jobs wait until that is mended.")
    stuck = [job for job in mp.metadata.jobs.remotes(limit=MANY, service=name) if job.remote and job.remote.cleanups]
    if stuck:
        yield Finding(f"{name} cleanup", "warning", f"not deleted there yet: {len(stuck)}", "It is tried again.")


def _budgets(settings: Settings, services: ConfiguredServices) -> Iterator[Finding]:
    policy = policy_of(settings)
    unknown = {*policy.per_job, *policy.per_day} - services.configured()
    if unknown:
        yield Finding("budgets", "warning", f"of services without a key: {', '.join(sorted(unknown))}", "Is it a typo?")
