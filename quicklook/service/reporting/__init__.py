"""Reports: what is known of an exposure, a test or a night, gathered into a document; the sink that makes them, and bundles for an expert."""
