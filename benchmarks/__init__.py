"""Measurements. Each prints a table and names the command that makes it."""
