"""Alarms as the journal has them: how they stand, what people do with them, and a report card."""
