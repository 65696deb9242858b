"""Batch annotation: pictures in, a run database that survives anything, one COCO file out."""
