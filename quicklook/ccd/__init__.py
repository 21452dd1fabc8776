"""quicklook/ccd."""
