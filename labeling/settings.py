"""Everything that is configured by the environment. Each process's `main` reads it once and passes it down."""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from labeling.credentials import url_passwords
from labeling.errors import SettingsError
from labeling.extras import install_command, missing_for_url
from labeling.logs import LogFormat

MEGABYTE = 10**6
DEFAULT_LABEL_STUDIO_URL = "http://localhost:8080"  # the key of projects while LABEL_STUDIO_URL is not set
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _database_default(fields: dict[str, Any]) -> str:
    return f"sqlite:///{fields['data_dir']}/argenseg.db"


def _blob_default(fields: dict[str, Any]) -> str:
    return f"{fields['data_dir']}/blobs"


def _is_redis_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.path) if parts.scheme == "unix" else parts.port != 0
    except ValueError:  # such as a port that is no number
        return False
    return parts.scheme in ("redis", "rediss", "unix") and is_whole


class SettingsFiles(PydanticBaseSettingsSource):
    """Settings out of files, as containers get secrets: what is in the file that NAME_FILE names is NAME's value.

    NAME itself goes first. SettingsError if a file cannot be read.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        names = _variables(field)
        for name in names:
            if path := os.environ.get(f"{name}_FILE"):
                try:
                    return Path(path).read_text(encoding="utf-8").strip(), names[0], False
                except (OSError, UnicodeDecodeError) as error:
                    reason = getattr(error, "strerror", None) or "it is no text"
                    raise SettingsError(f"The file {path} of {name}_FILE cannot be read: {reason}.") from None
        return None, names[0], False

    def __call__(self) -> dict[str, Any]:
        found = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {name: value for value, name, _ in found if value}


def _variables(field: FieldInfo) -> list[str]:
    """The names of a setting's environment variable, the first one first."""
    alias = field.validation_alias
    return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [str(alias)]


class Settings(BaseSettings):
    """One installation's settings: `Settings()` reads the environment (and files, see SettingsFiles); arguments
    override it.

    Times are in seconds, sizes in bytes and pixels.
    """

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore", env_ignore_empty=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SettingsFiles(settings_cls)

    label_studio_url: str | None = Field(None, validation_alias=AliasChoices("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"))
    label_studio_api_key: SecretStr | None = Field(
        None, validation_alias=AliasChoices("LABEL_STUDIO_API_KEY", "LABEL_STUDIO_ACCESS_TOKEN")
    )
    data_dir: Path = Field(Path("~/.argenseg"), validation_alias="ARGENSEG_DATA_DIR", validate_default=True)
    redis_url: str | None = Field(None, validation_alias="REDIS_URL")  # None: the embedded Redis
    database_url: str = Field(default_factory=_database_default, validation_alias="DATABASE_URL")
    blob_url: str = Field(default_factory=_blob_default, validation_alias="BLOB_URL")

    model: str = Field("starter", validation_alias=AliasChoices("ARGENSEG_MODEL", "MODEL_DIR"))
    model_loader: str | None = Field(None, validation_alias="MODEL_LOADER", pattern=r"^[\w.]+:\w+$")  # None: ARGenSeg
    device: str = Field("auto", validation_alias="DEVICE")
    workers: int = Field(1, validation_alias="WORKERS", ge=1)
    devices: str | None = Field(None, validation_alias="DEVICES")
    max_batch_tasks: int = Field(16, validation_alias="MAX_BATCH_TASKS", ge=1)
    models_in_memory: int = Field(2, validation_alias="MODELS_IN_MEMORY", ge=1)
    model_memory_limit: int | None = Field(None, validation_alias="MODEL_MEMORY_LIMIT", gt=0)

    host: str = Field("127.0.0.1", validation_alias="HOST")
    port: int = Field(9090, validation_alias="PORT", ge=0, le=65535)
    allowed_hosts: str = Field("", validation_alias="ALLOWED_HOSTS")  # names by comma; "*": any
    max_body_bytes: int = Field(128 * MEGABYTE, validation_alias="MAX_BODY_BYTES", ge=MEGABYTE)
    threads: int = Field(8, validation_alias="THREADS", ge=3)
    backend_url: str | None = Field(None, validation_alias="BACKEND_URL")  # None: from host and port
    log_level: str = Field("INFO", validation_alias="LOG_LEVEL")
    log_format: LogFormat = Field("text", validation_alias="LOG_FORMAT")
    basic_auth_user: str | None = Field(None, validation_alias="BASIC_AUTH_USER")
    basic_auth_pass: SecretStr | None = Field(None, validation_alias="BASIC_AUTH_PASS")

    reconcile_interval_s: float = Field(900.0, validation_alias="RECONCILE_INTERVAL_S", ge=0)
    blind_share: float = Field(0.0, validation_alias="BLIND_SHARE", ge=0, lt=1)

    finetune_cron: str | None = Field(None, validation_alias="FINETUNE_CRON")
    finetune_corrections: int | None = Field(None, validation_alias="FINETUNE_CORRECTIONS", ge=1)
    finetune_steps: int = Field(300, validation_alias="FINETUNE_STEPS", ge=1)
    finetune_threads: int = Field(1, validation_alias="FINETUNE_THREADS", ge=1, le=256)
    gate_min_images: int = Field(12, validation_alias="GATE_MIN_IMAGES", ge=2)

    keep_events_days: int = Field(90, validation_alias="KEEP_EVENTS_DAYS", ge=0)  # these three: 0 is for ever
    keep_answers_days: int = Field(90, validation_alias="KEEP_ANSWERS_DAYS", ge=0)
    keep_cached_images_days: int = Field(90, validation_alias="KEEP_CACHED_IMAGES_DAYS", ge=0)
    notify_url: SecretStr | None = Field(None, validation_alias="NOTIFY_URL")  # chats' addresses are secrets

    predict_wait_s: float = Field(8.0, validation_alias="PREDICT_WAIT_S", ge=0)
    interactive_wait_s: float = Field(30.0, validation_alias="INTERACTIVE_WAIT_S", ge=0, le=90)
    segment_timeout_s: float = Field(300.0, validation_alias="SEGMENT_TIMEOUT_S", gt=0)
    image_timeout_s: float = Field(30.0, validation_alias="IMAGE_TIMEOUT_S", gt=0)
    max_image_bytes: int = Field(200 * MEGABYTE, validation_alias="MAX_IMAGE_BYTES", gt=0)
    max_image_pixels: int = Field(100 * MEGABYTE, validation_alias="MAX_IMAGE_PIXELS", gt=0)
    image_cache_bytes: int = Field(10_000 * MEGABYTE, validation_alias="IMAGE_CACHE_BYTES", ge=0)
    image_reuse_s: float = Field(300.0, validation_alias="IMAGE_REUSE_S", ge=0)
    allow_private_image_hosts: bool = Field(False, validation_alias="ALLOW_PRIVATE_IMAGE_HOSTS")

    @field_validator("label_studio_url", "backend_url")
    @classmethod
    def _web_address(cls, url: str | None) -> str | None:
        url = url.strip().rstrip("/") if url else None
        if url and not re.match(r"https?://[^/]", url, re.IGNORECASE):
            raise ValueError("it is an address such as http://localhost:8080")
        return url or None

    @field_validator("notify_url")
    @classmethod
    def _takes_a_post(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not re.match(r"https?://[^/]", url.get_secret_value(), re.IGNORECASE):
            raise ValueError("it is an address of http or https")
        return url

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.expanduser().absolute()

    @field_validator("log_level")
    @classmethod
    def _log_level(cls, level: str) -> str:
        if level.upper() not in LOG_LEVELS:
            raise ValueError(f"it is one of {', '.join(LOG_LEVELS)}")
        return level.upper()

    @field_validator("log_format", mode="before")
    @classmethod
    def _log_format(cls, log_format: str) -> str:
        return log_format.lower()

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, url: str | None) -> str | None:
        if url is not None and not _is_redis_url(url):
            raise ValueError("it is a URL such as redis://host:6379/0, rediss://user:password@host or unix:///path")
        return url

    @field_validator("database_url", "blob_url")
    @classmethod
    def _has_its_extra(cls, url: str) -> str:
        if extra := missing_for_url(url):
            raise ValueError(f"{url.partition(':')[0]}:// needs more than is installed: {install_command(extra)}")
        return url

    def secrets(self) -> list[str]:
        """What no log, page or answer may show: the key, the password, and the passwords of URLs."""
        given = [
            secret.get_secret_value()
            for secret in (self.label_studio_api_key, self.basic_auth_pass, self.notify_url)
            if secret
        ]
        urls = (self.redis_url, self.database_url, self.blob_url, self.label_studio_url, self.backend_url)
        return given + [password for url in urls if url for password in url_passwords(url)]

    @property
    def installation_url(self) -> str:
        """The URL that, with a project's number, names the project in the store."""
        return self.label_studio_url or DEFAULT_LABEL_STUDIO_URL

    @property
    def allowed_host_names(self) -> frozenset[str]:
        """The host names of ALLOWED_HOSTS, in small letters; `*` among them is any."""
        return frozenset(name.strip().lower() for name in self.allowed_hosts.split(",") if name.strip())

    @property
    def is_open_to_all(self) -> bool:
        """Whether the backend listens for other machines and asks nobody for a password."""
        is_local = self.host == "localhost" or self.host == "::1" or self.host.startswith("127.")
        return not is_local and not (self.basic_auth_user or self.basic_auth_pass)

    @property
    def redis_socket(self) -> Path:
        """The embedded Redis's unix socket."""
        return self.data_dir / "redis" / "redis.sock"

    @property
    def local_backend_url(self) -> str:
        """The backend's address as this machine reaches it."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{host}:{self.port}"

    @property
    def public_backend_url(self) -> str:
        """The backend's address as Label Studio reaches it: BACKEND_URL, else as this machine does."""
        return self.backend_url or self.local_backend_url

    @property
    def image_cache(self) -> Path:
        """The folder of fetched images, named by their content."""
        return self.data_dir / "images"

    @property
    def runs_folder(self) -> Path:
        """The folder of fine-tune runs, `run-N` each, and of what they are measured on."""
        return self.data_dir / "finetune"


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment variables that make another process read the same settings; an empty one counts as unset."""
    environment = {}
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        value = value.get_secret_value() if isinstance(value, SecretStr) else value
        environment[_variables(field)[0]] = "" if value is None else str(value)
    return environment


def read_settings(**options: Any) -> Settings:
    """The environment's settings, with those options over them that are not None. SettingsError names what is wrong."""
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        wrong = (
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_input=False)
            if item["type"] != "default_factory_not_called"  # only for what is wrong elsewhere
        )
        raise SettingsError(f"The settings cannot be used. {'; '.join(wrong)}.") from None
