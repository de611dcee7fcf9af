"""The program of a spawned job's process: `python -m musproj.worker.spawned <line> <page>`."""

import os
import pickle
import socket
import sys

from musproj.composition import MusProj
from musproj.worker.board import Board
from musproj.worker.child import run_job, shut_in
from musproj.worker.launch import execution_of


def main(line_descriptor: int, page_descriptor: int) -> None:
    """Read from stdin what to run, then run it and leave by the back door, as a forked one does."""
    # Pickled by the supervisor that started this process, over a pipe that nobody else holds.
    settings, processors, assignment = pickle.load(sys.stdin.buffer)  # noqa: S301 - see above
    line = socket.socket(fileno=line_descriptor)
    board = Board.of_file(page_descriptor)
    execution = execution_of(MusProj.open(settings, processors=processors))
    shut_in(assignment)
    run_job(assignment, execution, line, board)
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
