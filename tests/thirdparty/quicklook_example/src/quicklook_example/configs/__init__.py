"""Configuration files of the example."""
