"""What a detector's output is worth against its symbols."""
