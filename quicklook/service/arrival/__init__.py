"""Raw files as they appear: the folder watched, files looked at until they are whole, units put together."""
