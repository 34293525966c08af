"""What people should know of a project's label config before they wait for masks."""

from labeling.errors import LabelConfigError
from labeling.label_studio.client import LabelStudioClient
from labeling.prompts.known import known_names, unknown_notes
from labeling.prompts.label_config import parse_label_config
from labeling.settings import Settings
from worker.projects.active_model import active_model_of


def label_notes(settings: Settings, client: LabelStudioClient, number: int) -> list[str]:
    """Sentences: why project `number` cannot be predicted, or what of its config is left out, and which of its prompts
    the active model was not taught. LabelStudioError or StoreError as these fail.
    """
    try:
        config = parse_label_config(str(client.get_project(number)["label_config"]))
    except LabelConfigError as error:
        return [f"It is not predicted. {error}"]
    return [*config.notes, *unknown_notes(known_names(settings, active_model_of(settings, number)), config)]
