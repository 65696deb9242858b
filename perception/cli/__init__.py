"""The command line: ``perception segment``, ``annotate``, ``verify`` and their siblings."""
