"""`python -m musproj.testing.fakes --port N`: the fakes as a process of their own."""

import argparse
import json
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

from musproj.testing.fakes.exchange import as_object
from musproj.testing.fakes.server import FakeServices


def main() -> None:
    """Serve until SIGTERM or SIGINT; the first line printed is the address."""
    parser = argparse.ArgumentParser(prog="python -m musproj.testing.fakes", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="where to listen on 127.0.0.1; 0: a free port")
    parser.add_argument("--options", type=json.loads, default={}, help='JSON, such as {"poll_ticks": 2}')
    asked = parser.parse_args()
    options: dict[str, Any] = as_object(asked.options)
    signal.signal(signal.SIGTERM, _end)
    try:
        with FakeServices(port=asked.port, **options) as fakes:
            sys.stdout.write(f"{fakes.url}\n")
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        pass


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
