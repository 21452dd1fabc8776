"""Jobs for scripts: a list of work in SQLite or PostgreSQL that many processes share. See `quicklook.service.journal.jobstore`."""

from __future__ import annotations

from quicklook.service.journal.jobstore import HeldJob, JobLocked, JobState, JobStore, LeaseLost, StoredJob

__all__ = ["HeldJob", "JobLocked", "JobState", "JobStore", "LeaseLost", "StoredJob"]
