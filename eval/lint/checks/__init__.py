"""One check per module, as classes with ``add`` and ``occurrences``; see :class:`rules.Check`."""
