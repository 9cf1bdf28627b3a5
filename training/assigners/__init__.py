"""Which anchor point of a detector is to predict which symbol, without maps of all against all."""
