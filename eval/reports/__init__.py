"""Reports: the figures of each as dataclasses, and the pages drawn from them."""
