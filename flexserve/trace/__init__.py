"""Canonical traces: what happened in a run, one event a line, the same bytes on every host (docs/trace-format.md)."""
