"""The command line: ``perception segment`` and ``perception detect``."""
