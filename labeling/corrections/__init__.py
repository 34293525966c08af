"""From annotation events to corrections: what the annotator made of each predicted mask."""
