"""Images: reading, discovering, preprocessing, resampling, drawing."""
