"""The web service behind the click page."""
