import os
import struct

import pytest

from musproj.application.execution import Phase
from musproj.errors import JobCancelledError
from musproj.worker.board import SIZE, STAGE_BYTES, Board, BoardPulse, Report


@pytest.fixture
def board():
    board = Board.anonymous()
    yield board
    board.close()


def test_a_fresh_board_tells_of_a_run_that_has_not_begun(board):
    assert board.read() == Report(Phase.FETCH, 0, None)
    assert not board.is_asked_to_stop


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # xdist has threads
def test_a_report_of_another_process_is_read_as_it_was_written(board):
    pid = os.fork()
    if not pid:
        BoardPulse(board).enter(Phase.PROCESS)
        pulse = BoardPulse(board)
        pulse.enter(Phase.PROCESS)
        pulse.report(42, "écoute")
        os._exit(0)
    os.waitpid(pid, 0)
    assert board.read() == Report(Phase.PROCESS, 42, "écoute")


def test_a_stage_stays_until_there_is_another(board):
    pulse = BoardPulse(board)
    pulse.report(1, "first")
    pulse.report(2, None)
    assert board.read() == Report(Phase.FETCH, 2, "first")


def test_a_long_stage_is_cut_between_characters(board):
    BoardPulse(board).report(1, "ü" * STAGE_BYTES)
    assert board.read().stage == "ü" * (STAGE_BYTES // 2)


def test_a_half_written_report_is_not_believed(board):
    BoardPulse(board).report(7, "whole")
    struct.pack_into("<I", board._page, 4, 3)
    assert board.read() is None


def test_whatever_stands_there_becomes_a_report(board):
    """The page belongs to a process that runs other people's code."""
    board._page[8:SIZE] = b"\xff" * (SIZE - 8)
    report = board.read()
    assert (report.phase, report.percent) == (Phase.PUBLISH, 100)


def test_the_flag_is_seen_at_the_next_look(board):
    pulse = BoardPulse(board)
    pulse.check()
    board.ask_to_stop()
    with pytest.raises(JobCancelledError):
        pulse.check()
