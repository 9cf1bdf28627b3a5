"""Pictures of pages with their boxes, for people to look at."""
