"""What every configuration model shares: frozen, closed to unknown fields, overridable by dotted paths, comparable by
digest.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, JsonValue


class FrozenConfig(BaseModel):
    """A configuration value: immutable, refuses unknown fields, infinities and NaN."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
    )

    def with_overrides(self, overrides: Mapping[str, JsonValue]) -> Self:
        """This configuration with the fields at the dotted paths replaced; validated as a whole.

        >>> from sdcn_core.config.objective import ObjectiveConfig
        >>> ObjectiveConfig().with_overrides({"tau_0": 0.3}).tau_0
        0.3

        Raises:
            pydantic.ValidationError: a value is refused, or a path names a field that does not exist.
            ValueError: a path goes through a field that has no fields of its own.
        """
        tree = self.model_dump(mode="json")
        for path, value in overrides.items():
            node = tree
            *parents, leaf = path.split(".")
            for name in parents:
                node = node.setdefault(name, {})  # an unknown name becomes a field the model refuses, with its path
                if not isinstance(node, dict):
                    raise ValueError(f"override {path!r}: {name!r} has no fields of its own")
            node[leaf] = value
        return type(self).model_validate(tree)

    def digest(self) -> str:
        """First 12 hex digits of the sha256 of the canonical JSON: equal configurations, equal strings."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def flat_values(self) -> dict[str, JsonValue]:
        """Every leaf by its dotted path."""

        def walk(node: JsonValue, path: str) -> dict[str, JsonValue]:
            if isinstance(node, dict) and node:
                return {k: v for name, child in node.items() for k, v in walk(child, f"{path}.{name}").items()}
            return {path.lstrip("."): node}

        return walk(self.model_dump(mode="json"), "")

    def flat(self) -> dict[str, str]:
        """Every leaf as dotted path and JSON text, the form in which MLflow stores parameters."""
        return {
            path: value if isinstance(value, str) else json.dumps(value) for path, value in self.flat_values().items()
        }
