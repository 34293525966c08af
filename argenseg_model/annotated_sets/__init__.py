"""Images with masks in the files that people have: our manifests, COCO's json, RefCOCO's references (no torch).

All become a `Manifest`, so that what trains and measures knows one kind only.
"""

from argenseg_model.annotated_sets.reading import AnnotatedSet as AnnotatedSet
from argenseg_model.annotated_sets.reading import read_annotated_set as read_annotated_set
