"""Engines behind one protocol; the conductor does not know which one it drives (design law 2)."""
