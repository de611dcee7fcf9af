"""The program of a spawned process: of a job, or, without arguments, of a sweep of uploads or a poller.

python -m musproj.worker.spawned [<line> <page>]
"""

import os
import pickle
import socket
import sys

from musproj.composition import MusProj
from musproj.worker.board import Board
from musproj.worker.child import Assignment, die_with, run_job, shut_in
from musproj.worker.launch import execution_of
from musproj.worker.poller import Polling, poll_for_ever


def main(descriptors: list[int]) -> None:
    """Read from stdin what to do, do it, and leave by the back door, as a forked process does."""
    # Pickled by the supervisor that started this process, over a pipe that nobody else holds.
    settings, processors, task = pickle.load(sys.stdin.buffer)  # noqa: S301 - see above
    mp = MusProj.open(settings, processors=processors)
    if isinstance(task, Assignment):
        line, page = descriptors
        shut_in(task)
        run_job(task, execution_of(mp), socket.socket(fileno=line), Board.of_file(page))
    elif isinstance(task, Polling):
        die_with(task.parent)
        poll_for_ever(mp, task.who)
    else:
        die_with(task.parent)
        mp.uploads.look_after(task.due)
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
