"""Floor 4: all that faces people, by two doors, `web/` and `console/`; what both do is in `operations/`."""
