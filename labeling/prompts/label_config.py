"""Read a Label Studio label config: which image, which tags draw masks, which prompts and options for which label."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from xml.etree.ElementTree import Element, ParseError, tostring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from labeling.errors import LabelConfigError
from labeling.prompts.region_options import DEFAULT_OPTIONS, RegionOptions, read_options
from labeling.prompts.wording import clean_prompt, distinct_prompts, split_prompts
from labeling.regions.kinds import BOX_KINDS, KINDS, READABLE_KINDS, SMART_KINDS

_SILENT_KINDS = tuple(kind for kind in READABLE_KINDS if kind not in SMART_KINDS)
_SHOWN = (
    "image",
    "text",
    "hypertext",
    "paragraphs",
    "video",
    "audio",
    "audioplus",
    "timeseries",
    "table",
    "list",
    "pdf",
)
_SPELT = {name.lower(): name for name in ("toName", "valueList", "perRegion")}
_KEPT_CHARACTERS = 250_000
_EXAMPLE = '<Label value="cell" prompt="every cell"/>'


@dataclass(frozen=True)
class LabelPrompt:
    """A label, the prompts whose masks make it (all of them together), and those whose masks are taken away.

    `label` is as regions carry it, to the blank; None on a plain tag such as <Brush>, whose regions carry none. `names`
    are what people call it: its value and its alias.
    """

    label: str | None
    prompts: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    options: RegionOptions = DEFAULT_OPTIONS
    names: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class ImageTag:
    """An <Image>. `key` finds its reference in a task's data (task_values): "image" for value="$image"."""

    name: str
    key: str


@dataclass(frozen=True)
class Control:
    """A tag that holds predicted regions. `type` is its kind and its regions' type: "brushlabels", "polygon", …

    `labels` are those that it draws: none of a plain tag unless it has a prompt of its own.
    """

    name: str
    to_name: str
    type: str
    labels: tuple[LabelPrompt, ...] = ()
    options: RegionOptions = DEFAULT_OPTIONS

    @property
    def has_labels(self) -> bool:
        """Whether its regions carry a label."""
        return self.type.endswith("labels")


@dataclass(frozen=True)
class LabelConfig:
    """What we use of a label config.

    `image` is the one that is predicted; `controls` draw on it, the first one what no label is named for. `input_tags`
    are the names of those that only take smart boxes. `notes` say to people what of the config is left out. `xml` is
    the whole config, free of entities and declarations.
    """

    xml: str
    image: ImageTag
    controls: tuple[Control, ...]
    text_prompt_tag: str | None
    input_tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def image_key(self) -> str:
        """What finds the image's reference in a task's data, see task_values."""
        return self.image.key

    def control(self, name: object) -> Control | None:
        """The control of this name."""
        return next((control for control in self.controls if control.name == name), None)


def parse_label_config(xml: str) -> LabelConfig:
    """Read a label config. Tags and attributes that we do not know are ignored.

    A label is drawn by one tag: of those that have it the first, where tags that hold masks come before rectangles, and
    plain tags (<Brush>) last. A <Rectangle…> with smart="true" takes boxes from the annotator and is not drawn into,
    unless nothing else could be.

    Raises LabelConfigError, with advice, where there is no image that can be predicted, no tag with labels that could
    hold a mask, or an option that cannot be read.
    """
    return _read_again(xml) if len(xml) <= _KEPT_CHARACTERS else _read(xml)


def _read(xml: str) -> LabelConfig:
    root, xml = _parse_xml(xml)
    repeated = _repeated(root)
    images = [tag for tag in _tags(root, "image") if tag.get("name") and tag not in repeated]
    if not images and repeated:
        raise LabelConfigError(
            "The label config shows its images in a <Repeater>, as several pages of one task, which are not predicted. "
            'Make each page a task of its own, with value="$image".'
        )
    if not images:
        raise LabelConfigError('The label config has no image. Add <Image name="image" value="$image"/>.')
    names = [tag.get("name", "") for tag in images]
    drawable = [tag for tag in _tags(root, *KINDS) if tag.get("name") and set(_targets(tag)) & set(names)]
    tags = [tag for tag in drawable if not _is_input(tag)] or drawable
    if not tags:
        raise LabelConfigError(
            "The label config has no tag that can hold a mask. Add "
            f'<BrushLabels name="brush" toName="{names[0]}">{_EXAMPLE}</BrushLabels>.'
        )
    tags.sort(key=lambda tag: (not _kind(tag).endswith("labels"), _kind(tag) in BOX_KINDS))
    name = next(target for target in _targets(tags[0]) if target in names)
    image = _image_tag(images[names.index(name)])
    ours = [tag for tag in tags if name in _targets(tag)]
    left_out = [_where(tag) for tag in tags if name not in _targets(tag)]
    notes = [f'Only the image "{name}" is predicted, not what {", ".join(left_out)} draw on.'] if left_out else []
    notes += ["What is in a <Repeater> is not predicted: make each page a task of its own."] if repeated else []
    controls = tuple(_controls(ours, name, notes))
    if not controls:
        raise LabelConfigError(" ".join(notes))
    notes += _smart_notes(root, name, controls)
    inputs = () if _is_input(tags[0]) else tuple(tag.get("name", "") for tag in drawable if _is_input(tag))
    return LabelConfig(xml, image, controls, _find_text_prompt(root, name), inputs, tuple(notes))


# a page, a task and a webhook read the same config again and again; what is kept is 16 MB of text at most
_read_again = lru_cache(maxsize=64)(_read)


def _parse_xml(xml: str) -> tuple[Element, str]:
    """The config, and itself written again, without declarations."""
    try:
        root: Element = fromstring(xml)
        plain = tostring(root, encoding="unicode")
        _read_as_the_page(root)
        return root, plain
    except ParseError as error:
        raise LabelConfigError(
            f"The label config is no valid XML ({error}). Check it in Settings > Labeling Interface."
        ) from None
    except (DefusedXmlException, ValueError) as error:
        raise LabelConfigError(f"The label config was refused: {error}. Remove its entity declarations.") from None
    except RecursionError:
        raise LabelConfigError("The label config is nested too deeply. Take the tags out of each other.") from None


def _read_as_the_page(root: Element) -> None:
    """Attributes count whatever their case, and a tag without toName is meant for the only thing that is shown."""
    for tag in root.iter():
        for name in [name for name in tag.attrib if name not in _SPELT.values()]:
            tag.set(_SPELT.get(name.lower(), name.lower()), tag.attrib.pop(name))
    shown = [tag.get("name", "") for tag in _tags(root, *_SHOWN) if tag.get("name")]
    for tag in root.iter():
        if len(shown) == 1 and isinstance(tag.tag, str) and _kind(tag) not in _SHOWN and tag.get("name"):
            tag.attrib.setdefault("toName", shown[0])


def _tags(root: Element, *names: str) -> list[Element]:
    return [tag for tag in root.iter() if isinstance(tag.tag, str) and tag.tag.lower() in names]


def _repeated(root: Element) -> set[Element]:
    """What is inside of <Repeater>, which shows it once for each item of a list in the task."""
    return {tag for repeater in _tags(root, "repeater") for tag in repeater.iter()}


def _kind(tag: Element) -> str:
    return str(tag.tag).lower()


def _where(tag: Element) -> str:
    """How people find a tag in their config."""
    identity = "name" if tag.get("name") else "value"
    return f'<{tag.tag} {identity}="{tag.get(identity, "")[:80]}">'


def _targets(tag: Element) -> list[str]:
    return [name.strip() for name in tag.get("toName", "").split(",")]


def _is_input(tag: Element) -> bool:
    return _is_smart(tag) and _kind(tag) in SMART_KINDS


def _is_smart(tag: Element) -> bool:
    return tag.get("smart", "").lower() == "true"


def _smart_notes(root: Element, image_name: str, controls: tuple[Control, ...]) -> Iterator[str]:
    """Smart tools, and labels of smart tools, that get no answer: the page shows nothing then, and does not say why."""
    drawn = dict.fromkeys(label.label for control in controls for label in control.labels if label.label)
    for tag in _tags(root, *SMART_KINDS, *_SILENT_KINDS):
        if not _is_smart(tag) or image_name not in _targets(tag):
            continue
        if _kind(tag) in _SILENT_KINDS:
            yield (
                f'{_where(tag)} has smart="true" and gets no answer: only points and boxes do. Take smart="true" out, '
                "and add a KeyPointLabels or RectangleLabels that has it."
            )
        elif controls[0].has_labels:  # a plain tag takes every label
            missing = [label for label in map(_carried, _tags(tag, "label")) if label and label not in drawn]
            if missing:
                yield (
                    f"{_where(tag)} gets no answer for {_listed(missing)}: no tag that holds masks has that label. "
                    f"Spell it as there: {_listed(list(drawn))}."
                )


def _carried(label: Element) -> str:
    """What regions of a <Label> carry."""
    return label.get("alias", "") or label.get("value", "")


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(labels[:10])[:200]


def _image_tag(image: Element) -> ImageTag:
    if image.get("valueList"):
        raise LabelConfigError(
            f"{_where(image)} shows several pages (valueList), which are not predicted. Make each page a task of its "
            'own, with value="$image".'
        )
    value = image.get("value", "").strip()
    if "$" not in value:
        raise LabelConfigError(f'{_where(image)} needs a value such as "$image", a key of the task data.')
    is_key = re.fullmatch(r"\$[^\s$]+", value) is not None  # else a text with keys in it, as "/data/upload/$file"
    return ImageTag(image.get("name", ""), value[1:] if is_key else value)


def _controls(tags: list[Element], image_name: str, notes: list[str]) -> Iterator[Control]:
    """The controls that have something to draw, each label in the first of them that has it."""
    drawn: dict[str | None, str] = {}
    for tag in tags:
        options = read_options(tag, _where(tag), DEFAULT_OPTIONS)
        tags_of_labels, dynamic = _static_labels(tag)
        labels = [_label(label, tag, options) for label in tags_of_labels]
        notes += dynamic + _twins(labels, tag)
        is_plain = not _kind(tag).endswith("labels")
        if is_plain:
            prompts = split_prompts(tag.get("prompt", ""))
            labels = [LabelPrompt(None, prompts, split_prompts(tag.get("exclude", "")), options)] if prompts else []
        elif not labels and not dynamic:
            notes.append(f"{_where(tag)} has no labels. Add {_EXAMPLE} inside.")
        others = {drawn[label.label] for label in labels if label.label in drawn}
        if others and not is_plain:
            notes.append(
                f"Labels of {_where(tag)} that are in {', '.join(sorted(others))} too are predicted there only."
            )
        fresh = {label.label: label for label in reversed(labels) if is_plain or label.label not in drawn}
        if fresh or (not drawn and is_plain and tag is tags[0]):
            drawn |= dict.fromkeys(fresh, _where(tag))
            kept = tuple(label for label in labels if fresh.get(label.label) is label)
            notes += [_emptiness(label, _where(tag)) for label in kept if _excludes_itself(label)]
            yield Control(tag.get("name", ""), image_name, _kind(tag), kept, options)


def _static_labels(control: Element) -> tuple[list[Element], list[str]]:
    """The <Label>s that are the same for every task, and what is to be said of the others."""
    labels = [label for label in _tags(control, "label") if label.get("value", "").strip()]
    static = [label for label in labels if not label.get("value", "").lstrip().startswith("$")]
    notes = []
    if control.get("value", "").strip().startswith("$"):
        notes.append(
            f'{_where(control)} takes labels from the task (value="{control.get("value", "").strip()[:40]}"). These '
            f"are not predicted: {f'only {_listed(list(map(_carried, static)))} is' if static else f'add {_EXAMPLE}'}."
        )
    if len(static) < len(labels):
        notes.append(
            f"{_where(control)} has labels whose value comes from the task, which are not predicted. Write the value "
            f"itself, such as {_EXAMPLE}."
        )
    return static, notes


def _twins(labels: Sequence[LabelPrompt], control: Element) -> list[str]:
    """What is to be said of labels that regions cannot tell apart: they carry the same text."""
    carried = [label.label or "" for label in labels]
    return [
        f'{_where(control)} has several labels whose regions carry "{name[:80]}": only the first one is predicted.'
        for name in dict.fromkeys(carried)
        if carried.count(name) > 1
    ]


def _excludes_itself(label: LabelPrompt) -> bool:
    """Whether all that it asks for is taken away again."""
    excluded = {prompt.casefold() for prompt in label.exclude}
    return bool(label.prompts) and all(prompt.casefold() in excluded for prompt in label.prompts)


def _emptiness(label: LabelPrompt, where: str) -> str:
    what = where if label.label is None else f'Label "{label.label[:80]}" of {where}'
    return f"{what} excludes all that it asks for ({', '.join(label.prompts)[:80]}): its masks are always empty."


def _label(label: Element, control: Element, options: RegionOptions) -> LabelPrompt:
    """Its own `prompt`, else its `predicted_values`, else its name. Regions carry its alias, if it has one."""
    value = label.get("value", "").strip()
    predicted = distinct_prompts(map(clean_prompt, label.get("predicted_values", "").split(",")))
    prompts = split_prompts(label.get("prompt", "")) or predicted or distinct_prompts([clean_prompt(value)])
    exclude = split_prompts(label.get("exclude", control.get("exclude", "")))
    names = tuple(dict.fromkeys(name for name in (value, label.get("alias", "").strip()) if name))
    return LabelPrompt(_carried(label), prompts, exclude, read_options(label, _where(label), options), names)


def _find_text_prompt(root: Element, image_name: str) -> str | None:
    """The first plain (not per-region) TextArea on the image, one named "prompt" before others."""
    areas = [tag for tag in _tags(root, "textarea") if tag.get("perRegion", "").lower() != "true"]
    names = [name for tag in areas if (name := tag.get("name")) and image_name in _targets(tag)]
    return "prompt" if "prompt" in names else next(iter(names), None)
