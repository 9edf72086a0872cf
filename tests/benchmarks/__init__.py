"""Measures flownb against what the machine itself allows."""
