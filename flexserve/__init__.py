"""The front door: command line and public API."""
