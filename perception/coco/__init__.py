"""COCO files: writing, linting, mending."""
