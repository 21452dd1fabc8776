"""Alarms: what is wrong, since when, who knows of it, and who is told."""
