"""The words of drawn scenes: colours, shapes and sizes with synonyms, and words for what no scene shows."""

from __future__ import annotations

# Colour family -> shade word -> RGB. The family's own word comes first and fits every shade of the family; the other
# words fit only their shade. The families stay apart in RGB by more than the jitter of `drawing` can bridge.
COLOURS: dict[str, dict[str, tuple[int, int, int]]] = {
    "red": {"red": (220, 35, 35), "crimson": (185, 15, 50), "scarlet": (240, 40, 25)},
    "green": {"green": (40, 160, 60), "dark green": (15, 90, 35), "lime": (115, 220, 45)},
    "blue": {"blue": (40, 80, 225), "navy": (20, 30, 115)},
    "yellow": {"yellow": (245, 222, 40), "golden": (225, 190, 35)},
    "orange": {"orange": (245, 130, 20)},
    "purple": {"purple": (130, 45, 180)},
    "pink": {"pink": (250, 130, 185)},
    "cyan": {"cyan": (45, 210, 225), "turquoise": (50, 205, 195)},
    "brown": {"brown": (125, 75, 40), "chocolate": (85, 48, 22)},
    "white": {"white": (245, 245, 245)},
    "black": {"black": (15, 15, 15)},
    "gray": {"gray": (128, 128, 128)},
}
COLOUR_SYNONYMS: dict[str, tuple[str, ...]] = {  # fit the whole family
    "purple": ("violet",),
    "gray": ("grey",),
    "cyan": ("aqua",),
    "pink": ("rose",),
    "orange": ("tangerine",),
}

# Shape -> (singular, plural) of its own word, then of its synonyms.
SHAPES: dict[str, tuple[tuple[str, str], ...]] = {
    "circle": (("circle", "circles"), ("disc", "discs"), ("disk", "disks"), ("dot", "dots")),
    "square": (("square", "squares"),),
    "rectangle": (("rectangle", "rectangles"), ("oblong", "oblongs")),
    "triangle": (("triangle", "triangles"),),
    "star": (("star", "stars"),),
    "ring": (("ring", "rings"), ("donut", "donuts"), ("annulus", "annuli")),
    "oval": (("oval", "ovals"), ("ellipse", "ellipses")),
    "cross": (("cross", "crosses"), ("plus sign", "plus signs")),
    "diamond": (("diamond", "diamonds"), ("rhombus", "rhombuses")),
    "hexagon": (("hexagon", "hexagons"),),
}
# Where geometry lets one word fit the other shape too, an "absent" prompt must not rest on the difference.
LOOKALIKES: dict[str, frozenset[str]] = {
    "circle": frozenset({"ring", "oval"}),
    "ring": frozenset({"circle"}),
    "oval": frozenset({"circle"}),
    "square": frozenset({"rectangle", "diamond"}),
    "rectangle": frozenset({"square"}),
    "diamond": frozenset({"square"}),
}
ANY_SHAPE: tuple[tuple[str, str], ...] = (("object", "objects"), ("shape", "shapes"), ("thing", "things"),
                                          ("figure", "figures"), ("item", "items"))  # fmt: skip
SIZES: dict[str, tuple[str, ...]] = {"small": ("small", "tiny", "little"), "large": ("large", "big", "huge")}

MICROSCOPY_WORDS = ("nuclei", "all nuclei", "nucleus", "every nucleus", "cell nuclei", "the nuclei", "cells",
                    "all cells", "bright nuclei", "cell")  # fmt: skip

# Things that neither a scene nor a microscope image shows: prompts that must stay empty.
FOREIGN_OBJECTS: tuple[str, ...] = tuple(
    """person people man woman child face hand head hair eye dog cat horse cow sheep pig goat bird chicken duck fish
    elephant bear lion tiger zebra giraffe rabbit mouse snake frog turtle butterfly bee insect spider car cars truck bus
    van bicycle motorcycle train tram airplane helicopter boat ship road street sidewalk crosswalk bridge
    building house roof window door wall fence stairs chimney tower tree trees bush grass flower flowers leaf leaves
    branch plant fruit apple banana lemon strawberry grape tomato potato carrot pepper onion bread cake pizza sandwich
    cup mug glass bottle bowl fork knife spoon pan kettle table chair sofa bed desk lamp shelf drawer cabinet
    curtain carpet mirror book newspaper letter envelope text logo word number barcode label sticker stamp
    phone keyboard laptop monitor television camera screen cable charger battery switch pen pencil
    scissors hammer screw bolt nail wrench drill saw pipe valve tank bag backpack suitcase package pallet
    container shirt jacket dress trousers shoe shoes hat glove glasses watch necklace umbrella bat racket
    skateboard surfboard sky cloud clouds rain snow mountain hill river lake sea beach sand rock stone
    field forest fire smoke shadow reflection tooth teeth bone heart lung liver kidney brain tumor lesion wound scar
    vessel crack scratch dent rust defect weld solder wire chip ship buoy animal vehicle
    worker vest forklift crane excavator tractor solar panel antenna drone satellite""".split()  # noqa: SIM905
)
