"""Launching nodes on this machine."""
