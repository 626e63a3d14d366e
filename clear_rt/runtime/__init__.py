"""Engines behind one protocol; the conductor does not know which one it drives."""
