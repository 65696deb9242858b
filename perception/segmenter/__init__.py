"""Prompts to masks: the Segmenter Protocol, the SAM network and its runtimes."""
