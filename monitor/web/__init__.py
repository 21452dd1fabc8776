"""The live page: server, API, pages."""
