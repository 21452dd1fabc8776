"""quicklook/core."""
