# SPDX-License-Identifier: Apache-2.0
"""The tree of errors, and the public names of the package."""

import importlib
import inspect
import pkgutil
import re

import pytest

import qpher_core
from qpher_core import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_has_a_stable_code(error: type[errors.QpherError]) -> None:
    """Each class has a code of the documented form."""
    assert re.fullmatch(r"ERR_[A-Z_]+_\d{3}", error.default_code)


def test_codes_tell_branches_apart() -> None:
    """Errors directly below the root have different codes."""
    below = [error for error in CLASSES if error.__bases__ == (errors.QpherError,)]
    assert len({error.default_code for error in below}) == len(below) == 9


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_is_in_the_tree(error: type[errors.QpherError]) -> None:
    """Each class descends from the root and is drawn at the head of the module."""
    assert issubclass(error, errors.QpherError)
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__


def test_the_unavailable_branch() -> None:
    """Everything that cannot answer is caught as ``Unavailable``."""
    below = {error.__name__ for error in errors.Unavailable.__subclasses__()}
    assert below == {
        "AlgorithmUnavailable",
        "AuditUnavailable",
        "PolicyUnavailable",
        "ProtectorUnavailable",
        "StoreUnavailable",
    }


def test_errors_carry_parameter_and_code() -> None:
    """Message, parameter, code and rule come out as they went in."""
    error = errors.ValidationError("name must be text", parameter="name", code="ERR_KMS_001")
    assert (str(error), error.parameter, error.code) == ("name must be text", "name", "ERR_KMS_001")
    assert errors.ValidationError("x").parameter is None
    assert errors.PermissionDenied("x", rule="plan").rule == "plan"
    assert errors.PermissionDenied("x").code == "ERR_POLICY_001"


def test_failed_decryptions_say_one_thing() -> None:
    """The usual message of a failed decryption does not depend on the cause."""
    assert str(errors.DecryptionFailed()) == "the input cannot be decrypted"


def test_all_is_what_is_there() -> None:
    """``__all__`` of the package is sorted, complete, and every name in it exists."""
    public = {
        name
        for name, value in vars(qpher_core).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    late = {
        name for name in qpher_core.__all__ if getattr(qpher_core, name) and name[:5] == "Async"
    }
    assert set(qpher_core.__all__) == (public - {"TYPE_CHECKING"}) | late
    assert qpher_core.__all__ == sorted(qpher_core.__all__)


def test_every_error_is_public() -> None:
    """All errors can be imported from the package itself."""
    for error in CLASSES:
        assert getattr(qpher_core, error.__name__) is error


def modules() -> list[str]:
    """Return the names of all modules of the engine that need no extra."""
    found = pkgutil.walk_packages(qpher_core.__path__, "qpher_core.")
    return [m.name for m in found if not m.name.startswith(("qpher_core.cli", "qpher_core.asgi"))]


@pytest.mark.parametrize("name", modules())
def test_all_of_every_module_is_real(name: str) -> None:
    """In every module ``__all__`` is sorted without case and names what exists."""
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    assert all(hasattr(module, item) for item in listed)
    assert len(set(listed)) == len(listed)


def test_the_core_knows_no_backend() -> None:
    """No module of the engine imports a backend by name."""
    for name in modules():
        source = inspect.getsource(importlib.import_module(name))
        assert not re.search(r"^\s*(from|import) qpher_(backends|native)", source, re.MULTILINE)
