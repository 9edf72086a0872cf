"""Requests to servers: `http` nodes."""
