"""Any tool's COCO file, checked and mended."""
