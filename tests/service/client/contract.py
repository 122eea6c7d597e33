"""Holds what a client sends, and what it is answered, against the OpenAPI document."""

import json
import re
from typing import Any

import httpx
import jsonschema

from tests.service.in_process import InProcess


class Contract(InProcess):
    """Fails where an answer, or a request that was granted, is not as the document has it; notes the routes."""

    def __init__(self, inner: InProcess, document: dict[str, Any]) -> None:
        self._inner = inner
        self._document = document
        self.routes: set[str] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path, operation = self._operation(request)
        self.routes.add(f"{request.method} {path}")
        answer = self._inner.handle_request(request)
        if answer.is_success:  # what is refused may be wrong
            unknown = set(request.url.params) - {one["name"] for one in operation.get("parameters", ())}
            assert not unknown, f"{request.method} {path} takes no {unknown}"
            if request.headers.get("Content-Type") == "application/json" and request.content:
                self._check(operation["requestBody"]["content"]["application/json"], request.content)
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        promised = operation["responses"][str(answer.status_code)]
        if answer.content and kind.endswith("json") and "*/*" not in promised["content"]:
            self._check(promised["content"][kind], answer.content)
        return answer

    def _operation(self, request: httpx.Request) -> tuple[str, dict[str, Any]]:
        """The route that takes it, the one with the fewest variables first; ids of models have slashes."""
        asked = request.url.raw_path.decode().partition("?")[0]
        for path in sorted(self._document["paths"], key=lambda path: (path.count("{"), path.endswith("}"))):
            variable = r".+" if path.startswith("/v1/models/") else r"[^/]+"
            if re.fullmatch(variable.join(re.split(r"\{\w+\}", path)), asked):
                operations = self._document["paths"][path]
                if request.method.lower() in operations:
                    return path, operations[request.method.lower()]
        raise AssertionError(f"no route takes {request.method} {asked}")

    def _check(self, content: dict[str, Any], body: bytes) -> None:
        schema = {**content["schema"], "components": self._document["components"]}
        jsonschema.Draft202012Validator(schema).validate(json.loads(body))
