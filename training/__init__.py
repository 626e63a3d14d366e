"""Trains what clear_rt ships. Not part of the wheel."""
