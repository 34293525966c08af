"""A bucket on an S3 server of this machine: moto's, behind a check of signed links, in which moto itself believes."""

import hashlib
import hmac
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from werkzeug.serving import make_server

from tests.conftest import cannot_run

REGION = "us-east-1"
KEY_ID = "ARGENSEGTESTKEYID"
SECRET = "of/the+bucket-and-of-nobody-else"
_UNRESERVED = "-_.~"


class Bucket:
    """A bucket with its objects. `linked`: the keys that were read through signed links, in order."""

    def __init__(self, name: str) -> None:
        try:
            import boto3
            from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        except ImportError as error:
            cannot_run(f"The S3 server is not installed ({error}): pip install -e '.[dev]'")
        self.name = name
        self.linked: list[str] = []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=MotoRequestHandler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        keys = {"aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET, "region_name": REGION}
        self._client = boto3.client("s3", endpoint_url=self.url, **keys)

    @contextmanager
    def running(self) -> Iterator["Bucket"]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            self._client.create_bucket(Bucket=self.name)
            yield self
        finally:
            self._client.close()
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=self.name, Key=key, Body=content)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not environ.get("HTTP_AUTHORIZATION", "").startswith("AWS4-HMAC-SHA256 "):
            if "HTTP_AUTHORIZATION" in environ or not _is_signed(environ):  # S3 refuses two kinds of authorization
                start_response("403 Forbidden", [("Content-Type", "application/xml")])
                return [b"<Error><Code>SignatureDoesNotMatch</Code></Error>"]
            path = unquote(environ["RAW_URI"].partition("?")[0])
            self.linked.append(path.removeprefix(f"/{self.name}/"))
            # of an object that is not there, moto takes this for a header, and its absence for a wrong signature
            environ["QUERY_STRING"] = re.sub("response-content-type=[^&]*&", "", environ["QUERY_STRING"])
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer


def _is_signed(environ: dict[str, Any]) -> bool:
    """Whether exactly this request was signed (AWS Signature Version 4, in the query, of no header but the host)."""
    path, _, query = environ["RAW_URI"].partition("?")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    signature, moment = parameters.pop("X-Amz-Signature", ""), parameters.get("X-Amz-Date", "")
    scope = parameters.get("X-Amz-Credential", "").removeprefix(f"{KEY_ID}/")
    named = sorted((quote(name, _UNRESERVED), quote(value, _UNRESERVED)) for name, value in parameters.items())
    canonical_query = "&".join(f"{name}={value}" for name, value in named)
    canonical_path = quote(unquote(path), f"/{_UNRESERVED}")
    headers = ["host:" + environ["HTTP_HOST"], "", "host"]
    request = "\n".join([environ["REQUEST_METHOD"], canonical_path, canonical_query, *headers, "UNSIGNED-PAYLOAD"])
    signed = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.digest(key, signed.encode(), "sha256").hex(), signature)
