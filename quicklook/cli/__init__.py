"""quicklook/cli."""
