"""Review: one HTML page that shows what a run has found, for people to look at."""
