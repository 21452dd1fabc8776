"""What a process that lives for months needs: its run folder, signals, the service manager, room on the disk, a doctor."""
