"""What is known: events, jobs and units in SQLite; the list of jobs for people and for scripts; what was missed; what is dropped."""
