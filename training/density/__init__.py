"""How dense and how small the data is as the network sees it, and what no training can reach."""
