"""Logging, configured here alone: the library itself only writes to its loggers."""

import logging

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_TALKATIVE = ("httpx", "httpcore", "botocore", "urllib3", "uvicorn.access")
"""They log full URLs, and a signed URL is a credential."""


def configure_logging(level: str) -> None:
    """Send records of `level` and above to stderr."""
    logging.basicConfig(level=level.upper(), format=_FORMAT, force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
