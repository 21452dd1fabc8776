"""monitor/render."""
