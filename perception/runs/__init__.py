"""Annotation runs: the run database, the local and the Ray engine, results."""
