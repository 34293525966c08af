"""Which things a small model was taught to name: a word that it does not know is not the same as an absent thing.

Needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

MOST_NEAREST = 3
_MOST_KEPT, _LONGEST_KEPT = 5000, 200


@dataclass(frozen=True)
class Known:
    """What a model knows of a prompt.

    Attributes:
        is_known: it names at least one thing that the model was taught, and nothing else but words that go with them.
        names: the things that it names, as they are usually asked for ("nuclei").
        forms: how they are said in the prompt, in its order.
        unknown: the words that the model was not taught.
        nearest: known names that are spelt like the unknown words, at most three; else the first known names.
    """

    is_known: bool
    names: tuple[str, ...]
    forms: tuple[str, ...]
    unknown: tuple[str, ...]
    nearest: tuple[str, ...]

    def __str__(self) -> str:
        if self.is_known:
            return "known"
        words, nearest = ", ".join(repr(word) for word in self.unknown), ", ".join(self.nearest)
        if not words:
            return f"it names nothing that the model was taught, such as {nearest}"
        return f"the model was not taught {words}; it knows, for example, {nearest}"


@dataclass(frozen=True)
class KnownNames:
    """The names and words of a model; without names it is taken to know everything, as a large model does.

    Attributes:
        names: name as it is usually asked for -> all its forms, lower case.
        words: what may stand beside a name ("all", "largest", "left").
    """

    names: Mapping[str, Sequence[str]]
    words: frozenset[str]
    _looked_up: dict[str, Known] = field(default_factory=dict, init=False, repr=False, compare=False)

    def look_up(self, prompt: str) -> Known:
        """What is known of the prompt's words."""
        if not self.names:
            return Known(True, (), (), (), ())
        if len(prompt) > _LONGEST_KEPT:
            return self._look_up(prompt)
        known = self._looked_up.get(prompt)  # a page asks for the same labels every few seconds
        if known is None:
            if len(self._looked_up) >= _MOST_KEPT:
                self._looked_up.clear()
            known = self._looked_up[prompt] = self._look_up(prompt)
        return known

    def _look_up(self, prompt: str) -> Known:
        rest = " ".join(re.findall(r"\w+(?:[-']\w+)*", prompt.lower()))
        forms = sorted(((form, name) for name, forms in self.names.items() for form in forms), key=lambda f: -len(f[0]))
        found: list[tuple[int, str, str]] = []
        for form, name in forms:  # the longest first: "tree trunk" is no tree
            if form.lower() not in rest:  # a model has hundreds: more patterns than Python keeps, and slow to make
                continue
            pattern = rf"(?<!\w){re.escape(form.lower())}(?!\w)"
            for match in re.finditer(pattern, rest):
                found.append((match.start(), name, match.group()))
            rest = re.sub(pattern, lambda match: " " * len(match.group()), rest)
        names = tuple(dict.fromkeys(name for _, name, _ in sorted(found)))
        said = tuple(form for _, _, form in sorted(found))
        unknown = tuple(word for word in rest.split() if word not in self.words)
        is_known = bool(names) and not unknown
        return Known(is_known, names, said, unknown, () if is_known else self._near(unknown))

    def _near(self, words: Sequence[str]) -> tuple[str, ...]:
        of_form = {form.lower(): name for name, forms in self.names.items() for form in forms}
        near = [of_form[form] for word in words for form in get_close_matches(word, of_form, MOST_NEAREST, 0.7)]
        return tuple(dict.fromkeys([*near, *self.names]))[:MOST_NEAREST]
