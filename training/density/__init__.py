"""Density analysis: how crowded and how small the symbols of a data set are for the network."""
