"""Converters from the formats of other frameworks."""
