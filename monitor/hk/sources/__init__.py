"""Sources of housekeeping, registered under `quicklook.hk_sources`."""
