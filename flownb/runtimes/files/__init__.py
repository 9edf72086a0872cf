"""Nodes that read and write files, each format by the library that is made for it."""
