"""`--report FILE.html`: what was done to one video, on one page that needs nothing beside it."""
