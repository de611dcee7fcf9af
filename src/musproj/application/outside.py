"""What work at outside services needs of an installation; light, because every process imports it."""

from abc import abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

import attrs

from musproj.application.remote_policy import RemotePolicy
from musproj.domain.keys import ObjectKey
from musproj.ports.remote import RemoteAccounts, RemoteService


class Services(Protocol):
    """The accounts of this installation at outside services."""

    __slots__ = ()

    @abstractmethod
    def names(self) -> frozenset[str]:
        """Return the services that have a key here."""

    @abstractmethod
    def open(self, name: str) -> RemoteService:
        """Return the service, opened once.

        Raises:
            ConfigurationError: it has no key here, or a library is missing.
        """


@attrs.frozen(kw_only=True)
class Outside:
    """What a run needs to have its work done elsewhere."""

    services: Services
    accounts: RemoteAccounts
    policy: RemotePolicy
    signed_url: Callable[[ObjectKey], str | None]
    """Returns an address of a stored object that outside services can reach, or None."""
    url_life: timedelta = timedelta(hours=24)
    """How long such an address is good."""
