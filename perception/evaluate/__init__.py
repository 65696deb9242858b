"""Measuring models the way the papers do, with measurements that prove themselves first."""
