"""What flownb speaks of: workflows, their nodes and policies, and the events and state of their runs."""
