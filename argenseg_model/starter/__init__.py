"""The small model that ships: a folder in our own layout, made by `python -m recipes.starter.train`."""

from pathlib import Path

STARTER_DIR = Path(__file__).parent
