"""What masks of one image are to one another: duplicates, containment, priority."""
