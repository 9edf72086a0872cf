"""Bash scripts with values in them: where a value may stand, and how it gets there without being a part of the text."""
