"""quicklook/service."""
