"""Tests that a session lists: what is expected, what came, and its analysis."""
