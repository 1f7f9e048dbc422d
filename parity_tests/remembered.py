"""A certificate beside a framework that is right: what it computes is computed once in a process of tests."""

import hashlib
import pickle
from typing import Any

import pytest

from tunable.certificate.programs import Program

_KNOWN: dict[tuple[str, ...], Any] = {}


def remember(monkeypatch: pytest.MonkeyPatch, *right: str) -> None:
    """Let programs of these frameworks, and torch's float64 truth with torch, say again what they said of the same.

    The same is all that a result follows from: mode, recipe, weights and inputs. A framework that the test breaks is
    none of them, for its source is not in that list.
    """
    for method in ("read", "gradients", "optimize", "train"):
        monkeypatch.setattr(Program, method, _remembering(method, right))


def _remembering(method: str, names: tuple[str, ...]):
    compute = getattr(Program, method)

    def call(self, *arguments):
        backend = self.model.backend
        if backend.name not in names:
            return compute(self, *arguments)
        given = pickle.dumps((self.recipe, backend.parameters(self.model.network), arguments))
        key = (self.name, backend.mode, method, hashlib.sha256(given).hexdigest())
        if key not in _KNOWN:
            _KNOWN[key] = compute(self, *arguments)
        return _KNOWN[key]

    return call
