import os
import selectors
import signal
import threading

from musproj.worker.signals import StopSignals


def test_a_signal_wakes_a_selector_and_is_counted():
    with StopSignals() as signals, selectors.DefaultSelector() as selector:
        selector.register(signals, selectors.EVENT_READ)
        assert selector.select(0) == []
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert selector.select(5)
        signals.drain()
        assert selector.select(0) == []
        assert signals.count == 2


def test_what_was_installed_before_comes_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_in_another_thread_nothing_is_installed():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def enter():
        with StopSignals() as signals:
            seen.append((signal.getsignal(signal.SIGTERM), signals.count))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [(before, 0)]


def test_an_alarm_is_a_note_where_it_is_to_be_heeded_and_nobodys_business_else():
    raised = []
    before = signal.signal(signal.SIGALRM, lambda *_: raised.append("as the carrier has it"))
    try:
        with StopSignals(heeds_alarm=True) as signals:
            signal.raise_signal(signal.SIGALRM)
            assert (signals.is_time_over, signals.count, raised) == (True, 0, [])
        with StopSignals() as signals:
            signal.raise_signal(signal.SIGALRM)
            assert (signals.is_time_over, raised) == (False, ["as the carrier has it"])
    finally:
        signal.signal(signal.SIGALRM, before)
