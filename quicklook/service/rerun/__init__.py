"""Data processed again: chosen, planned, from raw files or stored products; compared and cleaned."""
