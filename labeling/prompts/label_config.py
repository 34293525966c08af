"""Read a Label Studio label config: which image, which brush tag, which prompt for which label."""

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError, tostring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from labeling.errors import LabelConfigError

_BRUSH_TAGS = {"brushlabels", "brush"}


@dataclass(frozen=True)
class LabelPrompt:
    """One prompt that feeds a label; a label with several prompts has one of these for each."""

    label: str
    prompt: str


@dataclass(frozen=True)
class BrushControl:
    """The tag that holds brush regions. `type` is also the regions' type: "brushlabels", or "brush" (no labels)."""

    name: str
    to_name: str
    type: str
    labels: tuple[LabelPrompt, ...]


@dataclass(frozen=True)
class LabelConfig:
    """What we use of a label config.

    `image_key` is the key of the image in a task's data ("image" for "$image"). `xml` is the whole config, free of
    entities and declarations.
    """

    xml: str
    image_tag: str
    image_key: str
    brush: BrushControl
    text_prompt_tag: str | None


def parse_label_config(xml: str) -> LabelConfig:
    """Read a label config. Tags and attributes that we do not know are ignored.

    Raises LabelConfigError, with advice, where there is no single image, or no brush tag with labels on it.
    """
    root = _parse_xml(xml)
    image = _find_image(root)
    name, key = image.get("name", ""), image.get("value", "").removeprefix("$")
    xml = tostring(root, encoding="unicode")
    return LabelConfig(xml, name, key, _find_brush(root, name), _find_text_prompt(root, name))


def _parse_xml(xml: str) -> Element:
    try:
        root: Element = fromstring(xml)
    except ParseError as error:
        raise LabelConfigError(
            f"The label config is no valid XML ({error}). Check it in Settings > Labeling Interface."
        ) from None
    except (DefusedXmlException, ValueError) as error:
        raise LabelConfigError(f"The label config was refused: {error}. Remove its entity declarations.") from None
    return root


def _tags(root: Element, *names: str) -> list[Element]:
    return [tag for tag in root.iter() if isinstance(tag.tag, str) and tag.tag.lower() in names]


def _find_image(root: Element) -> Element:
    images = _tags(root, "image")
    if not images:
        raise LabelConfigError('The label config has no image. Add <Image name="image" value="$image"/>.')
    if len(images) > 1:
        raise LabelConfigError("The label config has several <Image> tags. Keep one: a task has one image here.")
    image = images[0]
    if image.get("valueList"):
        raise LabelConfigError('<Image valueList="…"> (several pages) is not supported. Use value="$image".')
    if not image.get("name") or not re.fullmatch(r"\$\S+", image.get("value", "")):
        raise LabelConfigError('The <Image> tag needs a name and a value such as "$image", a key of the task data.')
    return image


def _points_at(tag: Element, image_name: str) -> bool:
    return image_name in [name.strip() for name in tag.get("toName", "").split(",")]


def _find_brush(root: Element, image_name: str) -> BrushControl:
    brushes = [tag for tag in _tags(root, *_BRUSH_TAGS) if tag.get("name") and _points_at(tag, image_name)]
    if not brushes:
        raise LabelConfigError(
            "The label config has no brush tag for the image. Add "
            f'<BrushLabels name="brush" toName="{image_name}"><Label value="cell" prompt="every cell"/></BrushLabels>.'
        )
    brush = min(brushes, key=lambda tag: tag.tag.lower() == "brush")  # BrushLabels first
    kind, name = brush.tag.lower(), brush.get("name", "")
    labels = tuple(prompt for label in _tags(brush, "label") for prompt in _label_prompts(label))
    if kind == "brushlabels" and not labels:
        raise LabelConfigError(
            f'<BrushLabels name="{name}"> has no labels. Add <Label value="cell" prompt="every cell"/> inside.'
        )
    return BrushControl(name, image_name, kind, labels)


def _label_prompts(label: Element) -> list[LabelPrompt]:
    """A label's own `prompt`, else each of its `predicted_values`, else its name. Regions carry its alias, if any."""
    value = label.get("value", "").strip()
    if not value:
        return []
    prompt = label.get("prompt", "").strip()
    predicted = [part.strip() for part in label.get("predicted_values", "").split(",") if part.strip()]
    return [LabelPrompt(label.get("alias") or value, text) for text in ([prompt] if prompt else predicted or [value])]


def _find_text_prompt(root: Element, image_name: str) -> str | None:
    """The first plain (not per-region) TextArea on the image, one named "prompt" before others."""
    areas = [tag for tag in _tags(root, "textarea") if tag.get("perRegion", "").lower() != "true"]
    names = [name for tag in areas if (name := tag.get("name")) and _points_at(tag, image_name)]
    return "prompt" if "prompt" in names else next(iter(names), None)
