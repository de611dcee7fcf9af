"""The version of this package; equal to the newest heading of CHANGELOG.md."""

__version__ = "0.1.0"
