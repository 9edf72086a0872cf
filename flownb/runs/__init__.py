"""A run from its document to the handle that a person holds."""
