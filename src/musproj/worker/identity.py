"""Who a worker is, and what it is able to run."""

import gc
import importlib
import logging
import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Self

import attrs

from musproj.application.execution_provenance import libraries_of
from musproj.domain.ledger import Worker
from musproj.ports.jobs import LiveWorker
from musproj.ports.processor import ProcessorSpec
from musproj.registry import ProcessorCatalog
from musproj.settings import use_one_thread

log = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BOOT_CHARACTERS = 8


@attrs.frozen(kw_only=True)
class Identity:
    """A worker as others see it."""

    worker_id: str
    """`<host>:<pid>:<boot>`: a pid comes again, a boot does not."""
    host: str
    pid: int
    abilities: frozenset[str]
    specs: Mapping[str, ProcessorSpec]
    """Of the processors that can run here within the worker's memory."""

    @classmethod
    def of_this_process(cls, catalog: ProcessorCatalog, services: frozenset[str], budget_mb: int) -> Self:
        """Return the identity of a worker in this process, which can use `services`."""
        host, pid = socket.gethostname(), os.getpid()
        runnable = catalog.runnable()
        return cls(
            worker_id=f"{host}:{pid}:{_boot()}",
            host=host,
            pid=pid,
            abilities=attrs.evolve(catalog, services=services).abilities() if catalog.services else catalog.abilities(),
            specs={s.name: s for s in catalog.specs() if s.name in runnable and _fits(s, budget_mb)},
        )

    @property
    def types(self) -> frozenset[str]:
        """The job types that can run here."""
        return frozenset(self.specs)

    def able(self, free_mb: int) -> Worker:
        """Return the worker as one that has `free_mb` MiB left; what memory depends on the input is not known yet."""
        fitting = {name: spec for name, spec in self.specs.items() if _fits(spec, free_mb)}
        return Worker(
            worker_id=self.worker_id,
            types=frozenset(fitting),
            abilities=self.abilities,
            limits={name: spec.concurrency for name, spec in fitting.items() if spec.concurrency is not None},
        )

    def live(self, slots: int, seen_at: datetime) -> LiveWorker:
        """Return the sign of life of a worker that runs `slots` jobs at once."""
        return LiveWorker(
            worker_id=self.worker_id,
            host=self.host,
            pid=self.pid,
            types=self.types,
            abilities=self.abilities,
            concurrency=slots,
            seen_at=seen_at,
        )

    def preload(self) -> None:
        """Import once, for all the processes that will be forked, what their processors ask for."""
        use_one_thread()
        for spec in self.specs.values():
            for module in spec.preload:
                _import(module, spec.name)
            libraries_of(spec.requires)  # behind the imports: some tell their version only then
        # What was loaded is never collected, so a collection does not write to its pages: they stay shared.
        gc.collect()
        gc.freeze()


def _fits(spec: ProcessorSpec, free_mb: int) -> bool:
    return not isinstance(spec.memory_mb, int) or spec.memory_mb <= free_mb


def _import(module: str, processor: str) -> None:
    try:
        importlib.import_module(module)
    except Exception:  # other people's code: the job that needs it fails, and says why
        log.warning("%r of processor %r cannot be loaded.", module, processor, exc_info=True)


def _boot() -> str:
    with suppress(OSError):
        return BOOT_ID.read_text(encoding="ascii")[:BOOT_CHARACTERS]
    return secrets.token_hex(BOOT_CHARACTERS // 2)
