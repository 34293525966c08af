"""The small model that ships: a folder in our own layout, made by `python -m argenseg_model.training.train_starter`."""

from pathlib import Path

STARTER_DIR = Path(__file__).parent
