"""OWLv2."""
