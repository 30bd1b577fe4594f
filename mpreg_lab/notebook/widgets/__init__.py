"""Widgets: Python gives plain state, JavaScript draws it."""
