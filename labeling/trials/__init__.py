"""Trials of prompts: wordings of a label, compared on tasks that people have annotated."""
