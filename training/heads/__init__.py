"""Detection heads of several groups of classes on one backbone."""
