"""Workflows as plain values: what is written, in which order it can run, and what happened. No I/O, no clock."""
