"""What a command and a page both do. No click, no rich, no flask."""
