"""Detection heads for several groups of classes on one backbone."""
