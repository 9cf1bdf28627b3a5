"""What the decorated style adds to a score: marks on its notes, and passages between its bars."""
