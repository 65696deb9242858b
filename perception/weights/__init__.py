"""Model files: which there are, where they lie, how they get there, and that they are right."""

from perception.weights.digests import sha256_of_file
from perception.weights.embedded import data_folder, locate, sha256_of
from perception.weights.manifest import (
    WeightFile,
    WeightsEntry,
    find_entry,
    read_manifest,
    unknown_name,
)

__all__ = [
    "WeightFile",
    "WeightsEntry",
    "data_folder",
    "find_entry",
    "locate",
    "read_manifest",
    "sha256_of",
    "sha256_of_file",
    "unknown_name",
]
