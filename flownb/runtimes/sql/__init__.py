"""SQL statements: on databases, by SQLAlchemy, and on the values of nodes, by DuckDB."""
