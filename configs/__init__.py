"""Configuration that comes with the project: instruments, chains, limits and so on, as files beside this one."""
