"""Label assignment: which anchor point predicts which symbol, from lists of candidate pairs."""
