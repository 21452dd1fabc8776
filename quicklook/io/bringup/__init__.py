"""Bringing up an instrument: its description proposed from example frames, with what is not certain said."""
