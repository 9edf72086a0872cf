"""Expressions and templates: names read, evaluation, filters, and how a value is put into each target."""
