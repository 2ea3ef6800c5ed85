"""Measurements: commands that people run, no tests, since they depend on the machine."""
