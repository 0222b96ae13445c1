"""Converters: a run in the formats of other people's tools (docs/exports.md)."""
