"""What the live page is given: the journal and the results, opened to read, and the way to the daemon's commands."""
