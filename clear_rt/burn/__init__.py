"""Subtitles drawn into clean video: the other half of every pair that this project trains on and measures with."""
