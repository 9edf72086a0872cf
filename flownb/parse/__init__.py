"""Text to workflow: Markdown, front matter and properties, with every mistake at its line and column."""
