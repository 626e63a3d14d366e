"""What happens to a video after its subtitles were burned in: coding, scaling, interlacing, grain."""
