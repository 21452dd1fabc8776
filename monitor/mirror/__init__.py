"""Copies of raw files at a second place, made while they arrive."""
