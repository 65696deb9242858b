"""Weights: the catalog, downloads, verification, strict state dicts."""
