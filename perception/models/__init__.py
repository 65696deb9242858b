"""A detector and a predictor that work together: loading by name, inference, export."""
