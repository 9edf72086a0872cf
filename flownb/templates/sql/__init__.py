"""SQL: where a template puts values into a statement, and which tables that names."""
