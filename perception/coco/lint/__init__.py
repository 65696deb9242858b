"""Checks of any tool's COCO file, and mending what is certain."""
