"""Music to engrave, composed from a seed, and the signs that decorate it."""
