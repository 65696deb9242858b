"""What improves the masks of a segmenter with a small input: box prior and color refinement."""
