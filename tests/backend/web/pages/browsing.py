"""What a browser does with our forms."""

from typing import Any
from urllib.parse import urljoin

from flask.testing import FlaskClient


def send_form(client: FlaskClient, address: str, form: dict[str, Any]) -> str:
    """The page that a form leads to; our addresses are relative, as a browser takes them."""
    answer = client.post(address, data=form)
    assert answer.status_code == 303, answer.text
    return client.get(urljoin(address, answer.headers["Location"])).text
