"""Defaults that the library's signatures and the command line share.

A file of its own, so that ``perception --help`` shows them without loading anything.
"""

MODEL = "nano"
"""The model that is embedded."""

AUTO = "auto"
"""What suits the machine: of devices and precisions."""

THREADS = 0
"""CPU threads; 0 means all the cores that the process may use."""

THRESHOLD = 0.3
"""The least score of a phrase, 0..1. Higher finds less and errs less."""

MAX_PIXELS = 200_000_000
"""The largest image that is read: a defence against files that unpack to many gigabytes."""

# Of annotation runs.

FLOOR = 0.05
"""Boxes whose best score is below this, 0..1, aren't stored in a run."""

FLOOR_NMS = 0.9
"""Nor are boxes whose IoU with a better one of their class is larger than this, 0..1."""

BATCH = 4
"""Pictures in one call of the model."""

WORKERS = 2
"""Processes that read images."""

MAX_PARALLEL = 4
"""Calls of a model at once, unless more are asked for: each has its images in memory."""

PER_CLASS = 24
"""Instances of each class that a review shows."""

# Of segment-everything: SAM's own.

POINTS_PER_SIDE = 32
"""Points along each side of the grid that is asked about."""

POINTS_PER_BATCH = 64
"""Points that are decoded at once: more take more memory."""

QUALITY = 0.88
"""The least quality that the segmenter predicts for a mask, 0..1."""

STABILITY = 0.95
"""The least stability of a mask, 0..1: how little it changes with its threshold."""

STABILITY_OFFSET = 1.0
"""By how much a mask's threshold is moved up and down to measure its stability."""

NMS = 0.7
"""Of masks whose boxes have a larger IoU than this, 0..1, only the best is kept."""

CROP_LAYERS = 0
"""Layer n looks for smaller things in 4^n crops of the image."""

CROP_OVERLAP = 512 / 1500
"""How much neighbouring crops share, as a part of the image's shorter side."""

MIN_REGION = 0
"""Holes and loose parts of a mask with fewer pixels than this are filled and dropped."""

MIN_AREA = 0
"""Masks with fewer pixels than this are left out."""
