"""Pure functions over arrays: boxes, masks, polygons, windows."""
