"""A handler file becomes a LocalModel that is ready to execute, or an error that says
where in the file it failed.

Whatever the file does while it is loaded, raise or exit, ends in ServingError.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
import traceback
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from ovms_mp.calculator import pyovms
from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp_calculators.python_local import LocalModel, foreign
from ovms_mp_calculators.python_output import Voice, listen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import CodeType, ModuleType

log = logging.getLogger(__name__)

CLASS_NAME: Final = "OvmsPythonModel"


class _Defect(Exception):
    """The file is fine Python, but no handler; the message says why not."""


def load(path: Path, voice: Voice, label: str, kwargs: Mapping[str, Any]) -> LocalModel:
    """Load the file as a module of its own and initialize its OvmsPythonModel with
    `kwargs`. `label` names the node in errors; what the handler prints is the voice's.

    The module has a name that nobody else uses, so files of the same name do not meet;
    its directory is on `sys.path` from here on, so that it can import its neighbours.
    Raises ServingError PYTHON_NODE_FILE_*.
    """
    if not path.is_file():
        details = f"{label}: {path.name}"
        raise ServingError(Status.PYTHON_NODE_FILE_DOES_NOT_EXIST, details)
    sys.modules["pyovms"] = pyovms
    listen()
    directory = str(path.parent)
    if directory not in sys.path:
        sys.path.append(directory)
    importlib.invalidate_caches()  # a neighbour may be younger than the last look
    name = f"ovms_mp_handler_{uuid4().hex}"
    try:
        with foreign(voice):
            module = _import(name, path)
            model = _initialized(module, kwargs)
        return LocalModel(voice, module, model)
    except BaseException as error:  # foreign code; it may well call sys.exit
        sys.modules.pop(name, None)
        log.exception("%s: %s cannot be loaded", label, path)
        details = f"{label}: {_describe(path, error)}"
        status = Status.PYTHON_NODE_FILE_STATE_INITIALIZATION_FAILED
        raise ServingError(status, details) from error


class _CurrentSource(SourceFileLoader):
    """Compiles what the file holds now. The usual cache beside the file would not see
    an edit within the second, and cannot be written where mounts are read-only.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _import(name: str, path: Path) -> ModuleType:
    loader = _CurrentSource(name, str(path))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look modules up there
    loader.exec_module(module)
    return module


def _initialized(module: ModuleType, kwargs: Mapping[str, Any]) -> Any:
    model_class = getattr(module, CLASS_NAME, None)
    if not isinstance(model_class, type):
        raise _Defect(f"class {CLASS_NAME} is missing")
    model: Any = model_class()
    execute = getattr(model, "execute", None)
    if not callable(execute):
        raise _Defect(f"class {CLASS_NAME} has no method execute")
    open_session = getattr(model, "open_session", None)
    if inspect.iscoroutinefunction(open_session) and not _is_async(execute):
        raise _Defect(f"{CLASS_NAME}.open_session is async and execute is not")
    initialize = getattr(model, "initialize", None)
    if initialize is not None:
        initialize(dict(kwargs))
    return model


def _is_async(method: object) -> bool:
    return inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)


def _describe(path: Path, error: BaseException) -> str:
    """`handler.py:12: ValueError: why`, the line being the last one in this file."""
    if isinstance(error, _Defect):
        return f"{path.name}: {error}"
    line = next(
        (
            frame.lineno
            for frame in reversed(traceback.extract_tb(error.__traceback__))
            if frame.filename == str(path)
        ),
        None,
    )
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line, text = error.lineno, error.msg
    else:
        text = _text(error)
    where = path.name if line is None else f"{path.name}:{line}"
    kind = type(error).__name__
    return f"{where}: {kind}: {text}" if text else f"{where}: {kind}"


def _text(error: BaseException) -> str:
    try:
        return public_text(str(error))
    except BaseException:  # foreign code once more: an exception's __str__
        return ""
