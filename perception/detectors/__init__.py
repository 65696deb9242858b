"""Detectors: the Protocol, decoding, tiles, and each model family."""
