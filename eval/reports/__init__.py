"""Reports, each made from the dataclass that it shows."""
