"""Decides what runs next, and writes down what happened."""
