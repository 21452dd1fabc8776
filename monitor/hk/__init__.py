"""Housekeeping: sources of samples, their store, limits and the checker that judges them."""
