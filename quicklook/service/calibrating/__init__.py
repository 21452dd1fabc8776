"""Calibrations made from groups of exposures, and taken over."""
