"""What one may ask of a scene, in many wordings, and which objects answer.

Every question is unambiguous by construction: positions, relations and comparisons are asked only where the objects
leave a margin, sizes only where no medium-sized object would do as well. An absent prompt names what the scene lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from argenseg_model.scenes.drawing import Scene, SceneObject, pick
from argenseg_model.scenes.vocabulary import COLOURS, FOREIGN_OBJECTS, LOOKALIKES, MICROSCOPY_WORDS, SHAPES, SIZES
from argenseg_model.scenes.wording import Description, Objects, Wording


@dataclass(frozen=True)
class Place:
    """A place in the picture: `inside` says that an object is there, `outside` that it clearly is not."""

    inside: Callable[[SceneObject], bool]
    outside: Callable[[SceneObject], bool]
    phrases: tuple[str, ...]  # after the noun
    adjectives: tuple[str, ...] = ()  # before it


@dataclass(frozen=True)
class Direction:
    """A step from a reference object to the asked one, in the picture's axes."""

    dx: int
    dy: int
    relations: tuple[str, ...]  # "{target} PHRASE {reference}"
    superlatives: tuple[str, ...]

    def along(self, scene_object: SceneObject) -> float:
        return self.dx * scene_object.x + self.dy * scene_object.y

    def leads(self, reference: SceneObject, target: SceneObject) -> bool | None:
        """True or False where nobody would doubt it, else None."""
        dx, dy = target.x - reference.x, target.y - reference.y
        along = self.dx * dx + self.dy * dy
        across = abs(self.dy * dx) + abs(self.dx * dy)
        if along >= 0.15 and across <= 1.5 * along:
            return True
        return False if along <= -0.05 else None


_SHAPE_NAMES, _COLOUR_NAMES = tuple(SHAPES), tuple(COLOURS)
_CHROMATIC = tuple(c for c in COLOURS if c not in ("white", "gray", "black"))
_ROUND = ("circle", "oval", "ring")
_LOW, _HIGH = 0.40, 0.58  # a side of the picture begins below _LOW and is left for certain beyond _HIGH


def _corner(words: str, x_first: bool, y_first: bool) -> Place:
    def near(first: bool, value: float) -> float:
        return value if first else 1 - value

    return Place(
        lambda o: near(x_first, o.x) < _LOW and near(y_first, o.y) < _LOW,
        lambda o: near(x_first, o.x) > _HIGH or near(y_first, o.y) > _HIGH,
        (f"in the {words} corner", f"at the {words}", f"in the {words}"),
        (words,),
    )


PLACES = (
    Place(
        lambda o: o.x < _LOW, lambda o: o.x > _HIGH,
        ("on the left", "on the left side", "at the left", "in the left half"), ("left",),
    ),
    Place(
        lambda o: 1 - o.x < _LOW, lambda o: 1 - o.x > _HIGH,
        ("on the right", "on the right side", "at the right", "in the right half"), ("right",),
    ),
    Place(
        lambda o: o.y < _LOW, lambda o: o.y > _HIGH,
        ("at the top", "in the upper half", "in the upper part"), ("upper", "top"),
    ),
    Place(
        lambda o: 1 - o.y < _LOW, lambda o: 1 - o.y > _HIGH,
        ("at the bottom", "in the lower half", "in the lower part"), ("lower", "bottom"),
    ),
    Place(
        lambda o: max(abs(o.x - 0.5), abs(o.y - 0.5)) < 0.16,
        lambda o: max(abs(o.x - 0.5), abs(o.y - 0.5)) > 0.26,
        ("in the middle", "in the center", "in the centre", "at the center of the image"),
        ("central", "middle"),
    ),
    _corner("top left", True, True),
    _corner("top right", False, True),
    _corner("bottom left", True, False),
    _corner("bottom right", False, False),
)  # fmt: skip
DIRECTIONS = (
    Direction(-1, 0, ("to the left of", "left of", "on the left of"), ("leftmost", "left-most")),
    Direction(1, 0, ("to the right of", "right of", "on the right of"), ("rightmost", "right-most")),
    Direction(0, -1, ("above", "over", "higher than"), ("topmost", "highest", "uppermost")),
    Direction(0, 1, ("below", "under", "beneath", "lower than"), ("bottommost", "lowest")),
)
_SUPERLATIVE_MARGIN = 0.1  # of the side, to the runner-up
_AREA_MARGIN = 1.5  # times the runner-up's area
_WHOLE_SCENE = Description()
_TRIES = 12

# kind -> weight, per level. Many a scene has no clear "position", "relation" or "superlative" to
# offer and gets "colour shape" instead: in the end they make a quarter of level 3.
KINDS: dict[int, dict[str, float]] = {
    0: {"all": 0.1, "colour": 0.45, "shape": 0.45},
    1: {"all": 0.1, "colour": 0.45, "shape": 0.45},
    2: {"all": 0.06, "colour": 0.2, "shape": 0.2, "colour shape": 0.36, "size": 0.18},
    3: {"all": 0.05, "colour": 0.15, "shape": 0.15, "colour shape": 0.25, "size": 0.1, "position": 0.13,
        "relation": 0.16, "superlative": 0.07, "several": 0.03, "except": 0.01},
}  # fmt: skip
ABSENT_KINDS: dict[int, dict[str, float]] = {
    0: {"absent colour": 0.4, "absent shape": 0.4, "foreign": 0.2},
    1: {"absent colour": 0.4, "absent shape": 0.4, "foreign": 0.2},
    2: {"absent colour": 0.15, "absent shape": 0.15, "absent pair": 0.45, "absent size": 0.1, "foreign": 0.15},
    3: {"absent colour": 0.12, "absent shape": 0.12, "absent pair": 0.42, "absent size": 0.08, "absent position": 0.06,
        "absent relation": 0.05, "foreign": 0.15},
}  # fmt: skip


def _describe(scene_object: SceneObject, shape: bool, colour: bool) -> Description:
    return Description(scene_object.shape if shape else None, scene_object.colour if colour else None)


def _random_description(rng: np.random.Generator, scene_object: SceneObject) -> Description:
    """By shape, by colour, by both, or by neither."""
    kind = rng.random()
    return _describe(scene_object, shape=kind < 0.65, colour=0.35 < kind < 0.9)


def _ask(kind: str, rng: np.random.Generator, objects: Objects, words: Wording) -> tuple[str, Objects] | None:
    """A question of `kind` about one of `objects` and all objects that answer it, or None where it would be unclear."""
    chosen = pick(rng, objects)
    if kind == "all":
        if rng.random() < 0.15:
            return pick(rng, ("everything", "everything in the picture", "foreground")), objects
        return words.phrase(_WHOLE_SCENE), objects
    if kind in ("colour", "shape", "colour shape"):
        description = _describe(chosen, shape="shape" in kind, colour="colour" in kind)
        return words.phrase(description), description.select(objects)
    description = _random_description(rng, chosen)
    candidates = description.select(objects)
    if kind == "size":
        if any(o.size == "medium" for o in candidates):
            return None
        sized = Description(description.shape, description.colour, chosen.size)
        return words.phrase(sized), sized.select(objects)
    if kind == "superlative":
        return _ask_superlative(rng, description, candidates, words)
    if kind == "position":
        place = pick(rng, [p for p in PLACES if p.inside(chosen)] or PLACES)
        found = tuple(o for o in candidates if place.inside(o))
        if not found or not all(place.inside(o) or place.outside(o) for o in candidates):
            return None
        return _phrase_place(rng, description, place, words), found
    if kind == "relation":
        asked = _relation(rng, objects, description, candidates, words)
        return asked if asked and asked[1] else None
    second = _random_description(rng, pick(rng, objects))
    if kind == "several":
        if second == description or _WHOLE_SCENE in (second, description):
            return None
        union = tuple(o for o in objects if description.fits(o) or second.fits(o))
        joint = pick(rng, ("{} and {}", "{} and {}", "{} or {}", "{}, {}"))
        return joint.format(words.phrase(description), words.phrase(second)), union
    rest = tuple(o for o in objects if not description.fits(o))  # kind == "except"
    if not rest or description == _WHOLE_SCENE:
        return None
    form = pick(rng, ("everything except {}", "all objects except {}", "everything but {}", "all shapes other than {}"))
    return form.format(f"the {words.noun(description, plural=True)}"), rest


def _ask_superlative(
    rng: np.random.Generator, description: Description, candidates: Objects, words: Wording
) -> tuple[str, Objects] | None:
    if len(candidates) < 2:
        return None
    if rng.random() < 0.35:
        by_area = sorted(candidates, key=lambda o: o.area)
        if rng.random() < 0.5:
            found, runner_up, word = by_area[-1], by_area[-2], pick(rng, ("largest", "biggest"))
            clear = found.area >= _AREA_MARGIN * runner_up.area
        else:
            found, runner_up, word = by_area[0], by_area[1], "smallest"
            clear = runner_up.area >= _AREA_MARGIN * found.area
    else:
        direction = pick(rng, DIRECTIONS)
        ordered = sorted(candidates, key=direction.along)
        found, word = ordered[-1], pick(rng, direction.superlatives)
        clear = direction.along(found) - direction.along(ordered[-2]) >= _SUPERLATIVE_MARGIN
    if not clear:
        return None
    return pick(rng, ("the {} {}", "{} {}")).format(word, words.noun(description, plural=False)), (found,)


def _phrase_place(rng: np.random.Generator, description: Description, place: Place, words: Wording) -> str:
    if rng.random() < 0.25:
        return words.phrase(description, adjective=pick(rng, place.adjectives))
    return words.phrase(description, tail=pick(rng, place.phrases))


def _relation(
    rng: np.random.Generator, objects: Objects, description: Description, candidates: Objects, words: Wording
) -> tuple[str, Objects] | None:
    """The question for the candidates in some direction of another object, and those that are there (maybe none)."""
    reference = pick(rng, objects)
    named = _describe(reference, *pick(rng, ((True, True), (True, False), (False, True))))
    if description.fits(reference) or len(named.select(objects)) != 1:
        return None
    direction = pick(rng, DIRECTIONS)
    answers = [direction.leads(reference, o) for o in candidates]
    if None in answers:
        return None
    found = tuple(o for o, there in zip(candidates, answers, strict=True) if there)
    tail = f"{pick(rng, direction.relations)} {words.single(named)}"
    return words.phrase(description, tail=tail), found


def _ask_absent(
    kind: str, rng: np.random.Generator, objects: Objects, words: Wording, *, microscopy: bool = True
) -> str | None:
    """A question of `kind` that nothing answers, or None where something might."""
    if kind == "foreign":
        if microscopy and rng.random() < 0.25:
            return pick(rng, MICROSCOPY_WORDS)
        return pick(rng, ("{}", "{}", "the {}", "all {}", "every {}")).format(pick(rng, FOREIGN_OBJECTS))
    chosen = pick(rng, objects)
    if kind in ("absent position", "absent relation"):
        description = _random_description(rng, chosen)
        candidates = description.select(objects)
        if kind == "absent relation":
            asked = _relation(rng, objects, description, candidates, words)
            return asked[0] if asked and not asked[1] else None
        place = pick(rng, PLACES)
        return _phrase_place(rng, description, place, words) if all(map(place.outside, candidates)) else None
    if kind == "absent size":
        opposite = {"small": "large", "large": "small"}.get(chosen.size)
        description = _describe(chosen, shape=True, colour=rng.random() < 0.5)
        if opposite is None or any(o.size != chosen.size for o in description.select(objects)):
            return None
        return words.phrase(Description(description.shape, description.colour, opposite))
    if kind == "absent pair":  # a colour and a shape that are both there, or nearly, but not on one object
        change = rng.random()
        shape = pick(rng, objects).shape if change < 0.6 else pick(rng, _SHAPE_NAMES) if change < 0.8 else chosen.shape
        description = Description(shape, chosen.colour if change < 0.8 else pick(rng, _COLOUR_NAMES))
    elif kind == "absent colour":
        description = Description(None, pick(rng, _COLOUR_NAMES))
    else:
        description = Description(pick(rng, _SHAPE_NAMES))
    return None if any(_might_fit(description, o) for o in objects) else words.phrase(description)


def absent_anywhere(rng: np.random.Generator, grey: bool = True) -> str:
    """A prompt that no microscope image answers: an everyday thing; of a `grey` one also a colour or an odd shape."""
    words = Wording(rng, (), synonym_share=0.25)
    if rng.random() < 0.4 or not grey:
        return words.finish(str(_ask_absent("foreign", rng, (), words, microscopy=False)))
    shape = pick(rng, _SHAPE_NAMES) if rng.random() < 0.75 else None
    coloured = shape in (None, *_ROUND) or rng.random() < 0.6
    size = pick(rng, tuple(SIZES)) if rng.random() < 0.15 else None
    return words.finish(words.phrase(Description(shape, pick(rng, _CHROMATIC) if coloured else None, size)))


def _might_fit(description: Description, scene_object: SceneObject) -> bool:
    """Whether the words could be taken for this object, lookalike shapes included."""
    if description.colour not in (None, scene_object.colour):
        return False
    return description.shape in (None, scene_object.shape, *LOOKALIKES.get(scene_object.shape, ()))


def _pick_kind(rng: np.random.Generator, weights: dict[str, float]) -> str:
    point = rng.random() * sum(weights.values())
    for kind, weight in weights.items():
        point -= weight
        if point < 0:
            return kind
    return kind


def sample_prompt(
    scene: Scene, rng: np.random.Generator, level: int = 3, absent: bool = False
) -> tuple[str, np.ndarray, str]:
    """One prompt about the scene, with its mask (side, side) bool and its kind.

    The mask is the union of the visible pixels of ALL objects that the prompt fits; it is empty exactly if `absent`.
    Draws of the same scene are independent: call it as often as there should be prompts.
    """
    objects = scene.objects
    words = Wording(rng, objects, synonym_share=0.25 if level >= 2 else 0.0)
    if absent:
        kind = _pick_kind(rng, ABSENT_KINDS[level])
        for _ in range(_TRIES):
            text = _ask_absent(kind, rng, objects, words)
            if text is not None:
                return words.finish(text), scene.union(()), kind
        return words.finish(str(_ask_absent("foreign", rng, objects, words))), scene.union(()), "foreign"
    kind = _pick_kind(rng, KINDS[level])
    for _ in range(_TRIES):
        asked = _ask(kind, rng, objects, words)
        if asked is not None:
            return words.finish(asked[0]), scene.union(asked[1]), kind
    kind = "colour shape" if level >= 2 else "shape"
    text, found = _ask(kind, rng, objects, words) or ("", ())
    return words.finish(text), scene.union(found), kind
