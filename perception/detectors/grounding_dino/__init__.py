"""Grounding DINO, MM-Grounding-DINO and LLMDet."""
