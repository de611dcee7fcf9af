import ipaddress
import socket

import pytest

from musproj import Settings
from musproj.cli import addresses
from musproj.errors import ConfigurationError


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_loopback_address_needs_no_key(host):
    addresses.refuse_open_door(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_another_address_needs_one(host):
    with pytest.raises(ConfigurationError) as caught:
        addresses.refuse_open_door(Settings(host=host))

    assert "MUSPROJ_API_KEY" in caught.value.hint
    addresses.refuse_open_door(Settings(host=host, api_key="secret"))


def test_the_real_port_goes_into_the_url():
    assert addresses.reachable(Settings(port=0), 45_678).base_url == "http://127.0.0.1:45678"


def test_a_public_url_stays_as_it_is_given():
    settings = Settings(host="0.0.0.0", public_url="https://audio.example/")

    assert addresses.reachable(settings, 1).base_url == "https://audio.example"


def test_every_address_becomes_one_that_others_reach():
    settings = Settings(host="0.0.0.0", root_path="/audio")
    if addresses._outgoing_address(socket.AF_INET) is None:  # this machine has no way to others
        with pytest.raises(ConfigurationError, match="none that others could reach"):
            addresses.reachable(settings, 8_700)
        return
    settings = addresses.reachable(settings, 8_700)
    host = settings.base_url.removeprefix("http://").partition(":")[0]

    assert not ipaddress.ip_address(host).is_unspecified
    assert settings.base_url.endswith(":8700/audio")
    assert settings.host == "0.0.0.0"
