"""The embedded detector."""
