"""Monitoring algorithms (QAs): they measure and lay out plots as data; they never judge and never draw."""
