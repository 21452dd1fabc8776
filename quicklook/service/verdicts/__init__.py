"""The end of an exposure: its verdict, decision, receipt; what persons say of it; why a metric is what it is."""
