"""What may be bound."""

import socket

import pytest

from musproj.errors import ConfigurationError
from musproj.http.server import check_bind, listen, serve


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_no_key(open_api, host):
    check_bind(open_api(host=host).mp)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", ""])
def test_any_other_address_needs_one(open_api, host):
    mp = open_api(host=host, public_url="http://example.com").mp

    with pytest.raises(ConfigurationError) as caught:
        serve(mp)

    assert "MUSPROJ_API_KEY" in caught.value.hint


def test_signed_urls_need_an_address_that_others_reach(open_api):
    mp = open_api(host="0.0.0.0", api_key="secret").mp

    with pytest.raises(ConfigurationError) as caught:
        check_bind(mp)

    assert "MUSPROJ_PUBLIC_URL" in caught.value.hint
    check_bind(open_api(host="0.0.0.0", api_key="secret", storage="memory:").mp)
    check_bind(open_api(host="0.0.0.0", api_key="secret", public_url="http://a.example").mp)


def test_whoever_authenticates_otherwise_may_bind_anything(open_api):
    mp = open_api(host="10.0.0.1").mp

    check_bind(mp, has_authenticate=True)


def test_a_taken_port_is_told_in_words(open_api):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        mp = open_api(host="127.0.0.1", port=taken.getsockname()[1]).mp

        with pytest.raises(ConfigurationError, match="cannot be bound"), listen(mp.settings):
            pass
