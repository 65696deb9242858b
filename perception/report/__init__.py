"""HTML pages, charts and progress: reviews of runs, reports of evaluations."""
