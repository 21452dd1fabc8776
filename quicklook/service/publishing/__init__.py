"""What goes out and what comes in: sinks, the event sockets, the snapshot, commands, heartbeats."""
