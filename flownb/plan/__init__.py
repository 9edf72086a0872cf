"""What waits for what, what a value depends on, and what a run or a resume will do. Pure."""
