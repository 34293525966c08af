"""How a class of scene objects is put into words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from argenseg_model.scenes.drawing import SceneObject, pick
from argenseg_model.scenes.vocabulary import ANY_SHAPE, COLOUR_SYNONYMS, COLOURS, SHAPES, SIZES

Objects = tuple[SceneObject, ...]

_PLURAL_FORMS = ("all {}", "{}", "the {}", "all the {}", "all of the {}")
_SINGULAR_FORMS = ("{}", "the {}", "every {}", "each {}", "{}", "the {}", "a {}", "any {}")
_COMMANDS = ("find {}", "segment {}", "mark {}", "please select {}", "show me {}", "outline {}", "highlight {}")


@dataclass(frozen=True)
class Description:
    """A class of objects; None means any."""

    shape: str | None = None
    colour: str | None = None
    size: str | None = None

    def fits(self, scene_object: SceneObject) -> bool:
        return (
            self.shape in (None, scene_object.shape)
            and self.colour in (None, scene_object.colour)
            and self.size in (None, scene_object.size)
        )

    def select(self, objects: Objects) -> Objects:
        return tuple(o for o in objects if self.fits(o))


class Wording:
    """Turns descriptions into words, for one scene."""

    def __init__(self, rng: np.random.Generator, objects: Objects, synonym_share: float):
        self.rng, self.objects, self.synonym_share = rng, objects, synonym_share

    def _synonym(self) -> bool:
        return self.rng.random() < self.synonym_share

    def colour(self, family: str) -> str:
        if not self._synonym():
            return family
        words = [family, *COLOUR_SYNONYMS.get(family, ())]
        shades = {o.shade for o in self.objects if o.colour == family}
        if len(shades) <= 1:  # a shade's own word is right only if all objects of its family show it
            words += [w for w in shades or COLOURS[family] if w not in words]
        return pick(self.rng, words)

    def noun(self, description: Description, plural: bool) -> str:
        """For example "large red circle", "circles that are red", "navy thing"."""
        rng = self.rng
        if description.shape is None:
            words = pick(rng, ANY_SHAPE) if self.synonym_share else pick(rng, ANY_SHAPE[:2])
        else:
            names = SHAPES[description.shape]
            words = pick(rng, names) if self._synonym() else names[0]
        noun = words[1] if plural else words[0]
        adjectives = []
        if description.size:
            adjectives.append(pick(rng, SIZES[description.size]) if self.synonym_share else description.size)
        if description.colour:
            colour = self.colour(description.colour)
            if rng.random() < 0.06:
                noun = f"{noun} {'that are' if plural else 'that is'} {colour}"
            else:
                adjectives.append(colour)
        return " ".join([*adjectives, noun])

    def phrase(self, description: Description, tail: str = "", adjective: str = "") -> str:
        """A noun phrase for all objects that fit, with an optional place after or before the noun."""
        rng = self.rng
        bare = not (description.shape or description.size or tail or adjective)
        if description.colour and bare and rng.random() < 0.2:
            colour = self.colour(description.colour)
            return pick(rng, ("everything {}", "anything {}", "everything that is {}", "{}", "{} ones")).format(colour)
        plural = rng.random() < 0.45
        noun = self.noun(description, plural)
        if adjective:
            noun = f"{adjective} {noun}"
        if tail:
            noun = f"{noun} {tail}"
        text = pick(rng, _PLURAL_FORMS if plural else _SINGULAR_FORMS).format(noun)
        return f"an {text[2:]}" if text.startswith("a ") and text[2] in "aeiou" else text

    def single(self, description: Description) -> str:
        return pick(self.rng, ("the {}", "the {}", "{}")).format(self.noun(description, plural=False))

    def finish(self, text: str) -> str:
        """Small habits of typing: a command, a capital, a full stop."""
        habit = self.rng.random()
        if habit < 0.04:
            return pick(self.rng, _COMMANDS).format(text)
        if habit < 0.12:
            return text[0].upper() + text[1:]
        return text + "." if habit < 0.14 else text
