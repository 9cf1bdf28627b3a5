"""Files and folders that appear whole or not at all, and the pool of worker processes."""
