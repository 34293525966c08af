"""Microscope pictures drawn by code: fluorescence nuclei and stained tissue, their nuclei known to the pixel.

Needs numpy and OpenCV only. Everything is determined by the `np.random.Generator` passed in; no picture of a real
microscope is in it. What it is for: training, tests, demos and replay that may be shown and shipped by anyone.
"""

from argenseg_model.scenes.microscope.fluorescence import draw_fluorescence
from argenseg_model.scenes.microscope.picture import MicroscopePicture
from argenseg_model.scenes.microscope.tissue import draw_tissue

__all__ = ["MicroscopePicture", "draw_fluorescence", "draw_tissue"]
