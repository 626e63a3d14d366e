"""What is laid over a picture, or stands in its scene, and is no subtitle: what a remover must leave alone."""
