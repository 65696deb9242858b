"""Defaults that the library's signatures and the command line share.

A file of its own, so that ``perception --help`` shows them without loading anything.
"""

MODEL = "nano"
"""The model that is embedded."""

THREADS = 0
"""CPU threads; 0 means all the cores that the process may use."""

THRESHOLD = 0.3
"""The least score of a phrase, 0..1. Higher finds less and errs less."""

MAX_PIXELS = 200_000_000
"""The largest picture that is read: a defence against files that unpack to many gigabytes."""
