"""Prompts to masks: one contract (``protocol``), which every entry of the product calls.

``whole`` predicts in the whole image, as SAM does; ``zoom`` in crops around what is asked for.
``load`` chooses one of them from the model's spec, once.
"""
