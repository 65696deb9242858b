"""Results as files: COCO, overlays, mask PNGs, cut-outs."""
