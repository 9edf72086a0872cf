"""Prompt nodes: a message to a language model, streamed, and an answer that is what was asked for."""
