"""What the QAs can find, measured by the simulator; their pages."""
