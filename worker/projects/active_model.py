"""Which model is active for whom: a promoted version's folder where there is one, else the model of the settings."""

from labeling.errors import StoreMissing
from labeling.prompts.label_config import LabelConfig
from labeling.settings import Settings
from labeling.store import Project, Store
from labeling.versions import model_version, weights_of


def active_model(settings: Settings, store: Store, project: Project | None) -> str:
    """The model (a folder, hub id, or "starter") of a project's active version; None: of the default for all."""
    version = store.models.active(project)
    return settings.model if version is None else version.folder


def active_model_of(settings: Settings, number: int | None) -> str:
    """The same for project `number` of the settings' Label Studio, from a store that is opened for it. StoreError.

    Where there is no store nothing was promoted.
    """
    try:
        return _look_up(settings, number)
    except StoreMissing:
        return settings.model


def _look_up(settings: Settings, number: int | None) -> str:
    with Store.open(settings.database_url, settings.blob_url, must_exist=True) as store:
        project = None if number is None else store.projects.find(number, settings.installation_url)
        return active_model(settings, store, project)


def model_of_version(settings: Settings, store: Store, version: str, config: LabelConfig) -> str | None:
    """The model that makes a version under a label config; None where its weights are gone or its prompts changed."""
    known = store.models.find(weights_of(version))
    model = settings.model if known is None else known.folder
    return model if model_version(model, config) == version else None
