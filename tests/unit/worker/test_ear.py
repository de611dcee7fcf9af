"""A feed in the selector: opened late, followed to its present descriptor, closed and opened again."""

import os
import selectors
import socket
from pathlib import Path

import pytest

from musproj.errors import BackendUnavailableError
from musproj.ports.changes import ChangeFeed
from musproj.worker.ear import DEAF_INTERVAL_S, Ear
from musproj.worker.events import Teller
from musproj.worker.outage import Outage


class Radio(ChangeFeed):
    """A feed over a connection that can be broken and made anew."""

    interval = 60.0

    def __init__(self):
        self.is_closed = False
        self.connect()

    def connect(self):
        self.hearing, self.saying = socket.socketpair()
        self.hearing.setblocking(False)

    def hang_up(self):
        self.hearing.close()
        self.saying.close()

    def fileno(self):
        return None if self.hearing.fileno() < 0 else self.hearing.fileno()

    def poll(self):
        if self.fileno() is None:
            self.connect()
            return True
        try:
            return bool(self.hearing.recv(10))
        except BlockingIOError:
            return False

    def close(self):
        self.is_closed = True
        self.hang_up()


@pytest.fixture
def outage():
    return Outage(Teller("w", lambda _: None))


@pytest.fixture
def ear_of(outage):
    ears = []
    with selectors.PollSelector() as selector:

        def make(open_feed):
            ears.append(Ear(open_feed, selector, outage, lambda: None))
            return ears[-1], selector

        yield make
        for ear in ears:
            ear.close()


def ready(selector):
    return [key.fd for key, _ in selector.select(0)]


def test_what_is_said_wakes_the_selector_once_the_ear_listens(ear_of):
    radio = Radio()
    ear, selector = ear_of(lambda: radio)
    radio.saying.send(b"!")
    assert ready(selector) == []
    assert ear.poll() is False, "it does not listen yet"
    assert ear.interval == DEAF_INTERVAL_S

    assert ear.listen() is True
    assert ear.listen() is False, "it is open already"
    assert ready(selector) == [radio.fileno()]
    assert ear.is_woken
    assert ear.interval == 60.0
    assert ear.poll() is True
    assert ready(selector) == []


def test_a_new_connection_is_heard_whatever_number_it_gets(ear_of):
    radio = Radio()
    ear, selector = ear_of(lambda: radio)
    ear.listen()
    for taken in (0, 1, 3):
        radio.hang_up()
        others = [os.open(os.devnull, os.O_RDONLY) for _ in range(taken)]
        assert ear.poll() is True
        radio.saying.send(b"!")
        assert ready(selector) == [radio.fileno()]
        assert ear.poll() is True
        for other in others:
            os.close(other)


def test_a_connection_that_broke_frees_its_place_for_others(ear_of):
    radio = Radio()
    ear, selector = ear_of(lambda: radio)
    ear.listen()
    number = radio.fileno()
    radio.hang_up()
    ear.follow()
    assert not ear.is_woken
    with Path(os.devnull).open() as other:
        assert other.fileno() == number
        selector.register(other, selectors.EVENT_READ)
        selector.unregister(other)


def test_a_store_that_is_away_is_asked_again_when_its_pause_is_over(ear_of, outage):
    answers = [BackendUnavailableError("away"), Radio()]

    def open_feed():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    ear, _ = ear_of(open_feed)
    assert ear.listen() is False
    assert outage.is_on
    assert ear.listen() is False
    assert len(answers) == 1, "not before the pause is over"
    outage.retry_at = 0.0
    assert ear.listen() is True


def test_one_that_was_closed_listens_again_by_another_feed(ear_of):
    radios = [Radio(), Radio()]
    first, second = radios
    ear, selector = ear_of(lambda: radios.pop(0))
    ear.listen()
    ear.close()
    ear.close()
    assert first.is_closed
    assert (ear.fileno(), ear.poll(), len(selector.get_map())) == (None, False, 0)
    assert ear.listen() is True
    assert ear.fileno() == second.fileno()


def test_a_feed_that_cannot_say_goodbye_is_closed_all_the_same(ear_of, outage):
    class Stubborn(Radio):
        def close(self):
            super().close()
            raise BackendUnavailableError("away")

    ear, selector = ear_of(Stubborn)
    ear.listen()
    ear.close()
    assert outage.is_on
    assert len(selector.get_map()) == 0
