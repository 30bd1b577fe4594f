"""Frames from one end to the other: in memory and over websockets."""
