"""Stores: where results are kept for people and programs."""
