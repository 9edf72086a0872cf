"""What people read of a run: its log, its diagram, and the problems of a text."""
