import pytest

from labeling.credentials import hide_passwords, hide_secrets, url_passwords, without_credentials


@pytest.mark.parametrize(
    ("url", "shown", "link"),
    [
        ("http://host:9090/a", "http://host:9090/a", "http://host:9090/a"),
        ("http://me:hunter2@host:9090/a", "http://me:***@host:9090/a", "http://host:9090/a"),
        ("redis://:hunter2@queue:6380/0", "redis://:***@queue:6380/0", "redis://queue:6380/0"),
        ("http://me:un/en@coded@host", "http://me:***@host", "http://host"),
        ("http://me@host", "http://me@host", "http://host"),
        (
            "postgresql://me@srv:s3cret@srv.example/db",
            "postgresql://me@srv:***@srv.example/db",
            "postgresql://srv.example/db",
        ),
        ("sqlite:////home/a@b/argenseg.db", "sqlite:////home/a@b/argenseg.db", "sqlite:////home/a@b/argenseg.db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str, link: str) -> None:
    assert hide_passwords(url) == shown
    assert without_credentials(url) == link


def test_so_are_urls_in_a_text() -> None:
    text = "moved from http://a:one1@old:1 to http://a:two2@new:2. Ask me@example.com"
    assert hide_passwords(text) == "moved from http://a:***@old:1 to http://a:***@new:2. Ask me@example.com"


def test_secrets_are_hidden_unless_they_are_so_short_that_every_text_holds_them() -> None:
    assert hide_secrets("hunter2 and the model", ["hunter2", "e", "the", "", None]) == "*** and the model"


def test_the_password_of_a_url_in_both_forms() -> None:
    assert url_passwords("postgresql://me:p%40ss@db/argenseg") == ["p%40ss", "p@ss"]
    assert url_passwords("http://host") == url_passwords("http://me@host") == []


def test_a_secret_that_holds_another_or_a_password_is_hidden_whole() -> None:
    told = "tokens hunter2-and-more and http://me:hunter2@chat/hook/path"
    assert (
        hide_secrets(told, ["hunter2", "hunter2-and-more", "http://me:hunter2@chat/hook/path"]) == "tokens *** and ***"
    )
