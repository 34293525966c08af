"""What the starter learns to name on real pictures, how people say it, and what may be asked of which set."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Name:
    """A name of the data, and its wordings: (singular, plural) each, the usual one first; "" where nobody says it."""

    name: str
    wordings: tuple[tuple[str, str], ...]


def _name(name: str, *wordings: str) -> Name:
    pairs = [tuple(words.split("/")) if "/" in words else (words, words + "s") for words in wordings]
    return Name(name, tuple((pair[0], pair[1]) for pair in pairs) or ((name, name + "s"),))


NAMES: dict[str, Name] = {n.name: n for n in (
    _name("nucleus", "nucleus/nuclei", "cell nucleus/cell nuclei", "cell"),
    _name("facade", "facade", "house front", "building facade"),
    _name("window", "window", "window pane"),
    _name("shop", "shop", "shop front", "store"),
    _name("car", "car", "automobile", "parked car"),
    _name("street", "street"),
    _name("vegetation", "vegetation/vegetation", "plant", "greenery/greenery"),
    _name("fence", "fence"),
    _name("balcony fence", "balcony fence", "balcony railing", "balcony/balconies"),
    _name("traffic infrastructure", "traffic infrastructure/traffic infrastructure", "traffic sign"),
    _name("non building infrastructure", "non building infrastructure/non building infrastructure"),
    _name("scratch", "scratch/scratches", "scrape"),
    _name("dent", "dent", "bump in the metal/bumps in the metal"),
    _name("broken or missing part", "broken or missing part", "broken part", "missing part", "damaged part"),
    _name("damaged headlight", "damaged headlight", "broken headlight"),
    _name("exposed primer", "exposed primer/exposed primer", "bare metal/bare metal"),
    _name("cracked glass", "cracked glass/cracked glass", "broken glass/broken glass"),
    _name("airbag", "airbag"),
    _name("damaged bonnet", "damaged bonnet", "damaged hood"),
    _name("floor", "floor"),
    _name("wall", "wall"),
    _name("door", "door"),
    _name("ceiling", "ceiling"),
    _name("cabinet", "cabinet", "cupboard"),
    _name("chair", "chair", "seat"),
    _name("railing", "railing", "handrail"),
    _name("elevator", "elevator", "lift"),
    _name("stair", "stair", "step"),
    _name("tree", "tree"),
    _name("deer", "deer/deer", "antelope"),
    _name("tiger", "tiger"),
    _name("turtle", "turtle", "tortoise"),
    _name("building", "building", "house", "roof"),
    _name("road", "road", "roadway"),
    _name("sidewalk", "sidewalk", "pavement", "footpath"),
    _name("speed bump", "speed bump", "speed breaker"),
    _name("pothole", "pothole", "hole in the road/holes in the road"),
    _name("mushroom", "mushroom"),
    _name("coke", "coke/coke", "coke granule"),
    _name("pellet", "pellet", "ore pellet"),
    _name("sinter", "sinter/sinter", "sinter granule"),
    _name("embryo", "embryo"),
    _name("led", "led", "LED", "light-emitting diode"),
    _name("resistor", "resistor"),
    _name("capacitor", "capacitor"),
    _name("chip", "chip", "microchip", "integrated circuit"),
    _name("push button", "push button", "button"),
    _name("root", "root"),
    _name("leaf", "leaf/leaves"),
    _name("stem", "stem", "stalk"),
    _name("branch", "branch/branches", "twig"),
    _name("trunk", "trunk", "tree trunk"),
    _name("coin", "coin"),
    _name("card", "card"),
    _name("eraser", "eraser", "rubber"),
    _name("earphone case", "earphone case"),
    _name("usb stick", "usb stick", "USB stick", "flash drive"),
    _name("cube", "cube"),
    _name("octahedron", "octahedron/octahedra"),
    _name("sphere", "sphere", "ball"),
    _name("person", "person/people", "human"),
    _name("sky", "sky/sky"),
    _name("grass", "grass/grass"),
)}  # fmt: skip
"""By name of the data. Other names of COCO are asked as they are."""

APART = frozenset({"nucleus", "window", "building", "mushroom", "coke", "pellet", "sinter", "embryo", "cube", "sphere",
                   "octahedron", "led", "resistor", "capacitor", "chip", "push button", "leaf", "deer", "turtle",
                   "tiger", "car", "person", "dent", "scratch"})  # fmt: skip
"""Names whose objects are marked one by one, so that one of them can be asked for."""

SETS: dict[str, tuple[str, ...]] = {
    "nuclei": ("nucleus",),
    "facade": ("facade", "window", "shop", "car", "street", "vegetation", "fence", "balcony fence",
               "traffic infrastructure", "non building infrastructure"),
    "car_damage": ("scratch", "dent", "broken or missing part", "damaged headlight", "exposed primer", "cracked glass",
                   "airbag", "damaged bonnet"),
    "indoor": ("floor", "wall", "door", "ceiling", "cabinet", "chair", "railing", "elevator", "stair", "tree"),
    "animal": ("deer", "tiger", "turtle"),
    "building": ("building",),
    "campus_road": ("road", "sidewalk", "speed bump"),
    "pothole": ("pothole",),
    "mushroom": ("mushroom",),
    "granule": ("coke", "pellet", "sinter"),
    "embryo": ("embryo",),
    "breadboard": ("led", "resistor", "capacitor", "chip", "push button"),
    "seedling": ("root", "leaf", "stem"),
    "tree": ("branch", "trunk"),
    "desk_item": ("coin", "card", "eraser", "earphone case", "usb stick"),
    "particles": ("cube", "octahedron", "sphere"),
    "object": (),
    "things": (),
}  # fmt: skip
"""Set -> the names that are marked there: what of them a picture does not hold is absent."""

UNMARKED = frozenset({"scratch", "dent", "broken or missing part", "damaged headlight", "exposed primer", "stair",
                      "elevator", "cabinet", "ceiling", "branch"})  # fmt: skip
"""Names that may be there unmarked in their own set: never asked there as absent."""

_RARE = ("nucleus", "embryo", "tiger", "turtle", "deer", "mushroom", "pellet", "sinter", "coke", "octahedron",
         "resistor", "capacitor", "airbag", "pothole", "speed bump", "usb stick", "earphone case", "scratch", "dent",
         "root")  # fmt: skip
_MAY_BE_THERE: dict[str, tuple[str, ...]] = {
    "nuclei": ("nucleus", "embryo"),
    "embryo": ("nucleus", "embryo"),
    "facade": ("scratch", "dent", "root", "mushroom"),
    "car_damage": ("scratch", "dent", "pothole", "airbag", "speed bump", "root"),
    "indoor": ("root",),
    "animal": ("tiger", "turtle", "deer", "root", "mushroom"),
    "building": ("scratch", "dent", "root", "turtle", "deer", "tiger"),
    "campus_road": ("scratch", "dent", "speed bump", "pothole", "root"),
    "pothole": ("scratch", "dent", "pothole", "speed bump", "root", "coke"),
    "mushroom": ("mushroom", "root", "scratch", "dent", "nucleus"),
    "granule": ("pellet", "sinter", "coke", "dent", "scratch", "nucleus"),
    "breadboard": ("resistor", "capacitor", "usb stick", "scratch", "dent"),
    "seedling": ("root", "nucleus", "embryo"),
    "tree": ("root", "mushroom", "scratch"),
    "desk_item": ("usb stick", "earphone case", "scratch", "dent"),
    "particles": ("octahedron", "pellet", "nucleus", "scratch", "dent"),
    "object": ("scratch", "dent", "root", "mushroom", "airbag", "usb stick"),
    "things": ("scratch", "dent", "root", "mushroom", "airbag", "usb stick"),
}  # fmt: skip


def surely_absent(set_name: str) -> tuple[str, ...]:
    """Names of other sets that no picture of the set shows."""
    return tuple(name for name in _RARE if name not in _MAY_BE_THERE[set_name])
