"""Pictures of pages with their boxes."""
