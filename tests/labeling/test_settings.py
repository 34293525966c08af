from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from labeling.errors import SettingsError
from labeling.settings import Settings, read_settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        for name in getattr(alias, "choices", [alias]):
            monkeypatch.delenv(str(name), raising=False)
            monkeypatch.delenv(f"{name}_FILE", raising=False)


def test_defaults() -> None:
    settings = Settings()
    home = Path("~/.argenseg").expanduser()
    assert settings.data_dir == home
    assert settings.database_url == f"sqlite:///{home}/argenseg.db"
    assert settings.blob_url == f"{home}/blobs"
    assert settings.redis_socket == home / "redis" / "redis.sock"
    assert (settings.host, settings.port, settings.threads, settings.model) == ("127.0.0.1", 9090, 8, "starter")
    assert settings.label_studio_url is None
    assert not settings.allow_private_image_hosts


@pytest.mark.parametrize("url", ["LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"])
@pytest.mark.parametrize("key", ["LABEL_STUDIO_API_KEY", "LABEL_STUDIO_ACCESS_TOKEN"])
@pytest.mark.parametrize("model", ["ARGENSEG_MODEL", "MODEL_DIR"])
def test_the_names_that_users_know(monkeypatch: pytest.MonkeyPatch, url: str, key: str, model: str) -> None:
    for name, value in {url: "http://ls:8080/", key: "secret", model: "/m", "ARGENSEG_DATA_DIR": "/d"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("REDIS_URL", "redis://r:6380/1")
    settings = Settings()
    assert settings.label_studio_url == "http://ls:8080"
    assert settings.label_studio_api_key is not None
    assert settings.label_studio_api_key.get_secret_value() == "secret"
    assert (settings.model, settings.data_dir) == ("/m", Path("/d"))
    assert settings.database_url == "sqlite:////d/argenseg.db"
    assert settings.redis_url == "redis://r:6380/1"


def test_a_set_database_and_empty_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/argenseg")
    monkeypatch.setenv("LABEL_STUDIO_URL", "")
    assert Settings().database_url == "postgresql://db/argenseg"
    assert Settings().label_studio_url is None


def test_secrets_are_not_shown() -> None:
    settings = Settings(label_studio_api_key="hidden", basic_auth_pass="hidden")  # type: ignore[arg-type]
    assert "hidden" not in repr(settings)


def test_fields_are_arguments_too_and_do_not_change(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=0)
    assert settings.image_cache == tmp_path / "images"
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            ("PORT", "70000"),
            ("THREADS", "2"),
            ("PREDICT_WAIT_S", "-1"),
            ("LOG_LEVEL", "verbose"),
            ("MODEL_LOADER", "loader"),
        ],
        *[("REDIS_URL", url) for url in ("foo", "http://queue:6379", "redis://queue:port", "unix://")],
        *[("LABEL_STUDIO_URL", url) for url in ("label-studio:8080", "ftp://label-studio", "https://")],
    ],
)
def test_what_cannot_work_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "verbose"),
        ("REDIS_URL", "http://me:hunter2@queue"),
        ("LABEL_STUDIO_URL", "me:hunter2@label-studio:8080"),
    ],
)
def test_what_is_wrong_is_said_for_people(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"{name}: it is ") as error:
        read_settings()
    assert "hunter2" not in str(error.value) and "default factory" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["redis://queue:6379/0", "rediss://me:p%40ss@queue", "unix:///run/redis.sock?db=1", "redis://"]
)
def test_redis_urls_that_work(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setenv("LOG_LEVEL", "warning")
    assert (Settings().redis_url, Settings().log_level) == (url, "WARNING")


def test_a_secret_is_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    monkeypatch.setenv("LABEL_STUDIO_ACCESS_TOKEN_FILE", str(tmp_path / "key"))
    assert read_settings().label_studio_api_key == SecretStr("from a file")
    monkeypatch.setenv("LABEL_STUDIO_ACCESS_TOKEN", "from the environment")
    assert read_settings().label_studio_api_key == SecretStr("from the environment")
    assert read_settings(label_studio_api_key="an option").label_studio_api_key == SecretStr("an option")


def test_a_secrets_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"none of DATABASE_URL_FILE cannot be read: No such file"):
        read_settings()
