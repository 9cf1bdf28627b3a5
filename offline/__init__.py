"""Installation on machines without a network."""
