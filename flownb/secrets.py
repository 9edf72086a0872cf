"""Where secret values come from, and the redactor that every writer goes through."""
