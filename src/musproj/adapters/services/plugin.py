"""The services behind their names; their libraries are imported when one is opened."""

from musproj.application.http_profile import HttpProfile
from musproj.ports.plugin import ServiceContext
from musproj.ports.remote import RemoteService
from musproj.registry import require


def open_auphonic(context: ServiceContext) -> RemoteService:
    """Open the account at Auphonic.

    Raises:
        MissingExtraError: the HTTP library is not installed.
        ConfigurationError: the address is wrong.
    """
    require("httpx", "services")
    from musproj.adapters.services import opening

    return opening.open_auphonic(context)


def open_lalal(context: ServiceContext) -> RemoteService:
    """Open the license key of LALAL.AI; raises as `open_auphonic`."""
    require("httpx", "services")
    from musproj.adapters.services import opening

    return opening.open_lalal(context)


def open_profile(profile: HttpProfile, context: ServiceContext) -> RemoteService:
    """Open the service that a profile describes; raises as `open_auphonic`."""
    require("httpx", "services")
    from musproj.adapters.services import opening

    return opening.open_profile(profile, context)
