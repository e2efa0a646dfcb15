"""The contracts between the packages, read off the source."""

import ast
import functools
import graphlib
import importlib
import inspect
import pathlib
import pkgutil
import re
import sys

import pytest

import fixinit
from fixinit import schemes

PACKAGE = pathlib.Path(fixinit.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
STANDARD = set(sys.stdlib_module_names)
BACKENDS = {"tensorflow", "jax", "torch"}
SELF = ("self", "cls", "super()")
ATTRIBUTE_CALLS = ("getattr", "hasattr", "setattr", "delattr")
# Private attributes of objects that are not Keras's: there is no public way.
FOREIGN = {
    ("backend/compilation.py", "_get_control_flow_context"),
    ("backend/custom_gradients.py", "_registry"),
}
# What each package may import of the others.
ALLOWED = {
    "_functional": set(),
    "_keras": set(),
    "_pages": set(),
    "_plotting": set(),
    "_typing": set(),
    "_checked": {"_validation"},
    "_validation": set(),
    "backend": set(),
    "initializers": {"_checked", "_validation", "backend"},
    "layers": {"_checked", "_validation", "backend", "initializers"},
    "schemes": {
        "_checked",
        "_validation",
        "initializers",
        "layers",
        "optimizers",
        "theory",
    },
    "models": {
        "_functional",
        "_checked",
        "_validation",
        "backend",
        "initializers",
        "layers",
        "schemes",
    },
    "optimizers": {"_checked", "_validation", "backend", "layers"},
    "graph": {"_functional", "_checked", "_validation", "backend", "layers"},
    "conversion": {
        "_functional",
        "_checked",
        "_validation",
        "backend",
        "graph",
        "initializers",
        "layers",
        "schemes",
        "theory",
    },
    "diagnostics": {
        "_pages",
        "_plotting",
        "_typing",
        "_checked",
        "_validation",
        "backend",
        "graph",
        "layers",
        "optimizers",
        "schemes",
    },
    "starts": {
        "_checked",
        "_validation",
        "backend",
        "conversion",
        "diagnostics",
        "graph",
        "layers",
    },
    "theory": {"_checked", "_validation", "backend", "graph", "initializers", "layers"},
}


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_backend_imports_a_backend(path):
    roots = {name.split(".")[0] for name in imported_modules(path)}
    assert path.parent.name == "backend" or not roots & BACKENDS


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_imports_upward(path):
    place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    modules = set(imported_modules(path))
    assert not {m.split(".")[0] for m in modules} & {"recipes", "third_party"}
    if place == "__init__":
        return
    imported = {m.split(".")[1] for m in modules if m.startswith("fixinit.")}
    # Every package names types, and may need a private part of Keras.
    shared = {place, "_typing", "_keras"}
    assert imported & set(ALLOWED) - shared <= ALLOWED[place]


MODULES = {
    path: ".".join(["fixinit", *path.relative_to(PACKAGE).with_suffix("").parts])
    for path in SOURCES
}
MODULES = {name.removesuffix(".__init__"): path for path, name in MODULES.items()}


def imported_on_loading(path):
    """The modules of fixinit that one imports by name when it is loaded itself.

    A package that is named stands for what its `__init__` imports. One that only leads
    to a module, as `fixinit` does to all of them, does not count.
    """
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from names & set(MODULES)
            if names - set(MODULES):
                yield node.module


def test_no_modules_import_each_other():
    imports = {name: {*imported_on_loading(path)} for name, path in MODULES.items()}
    graphlib.TopologicalSorter(imports).prepare()  # a CycleError names the modules


def private_names(tree):
    """Yields `(owner, name)` where an attribute's name starts with one underscore."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner, name = ast.unparse(node.value), node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ATTRIBUTE_CALLS:
            owner, name = (ast.unparse(argument) for argument in node.args[:2])
            name = name.strip("'")
        else:
            continue
        if name.startswith("_") and not name.endswith("__"):
            yield owner, name


@functools.cache
def names_private_to_keras():
    tree = ast.parse((PACKAGE / "_keras.py").read_text())
    return {name for _, name in private_names(tree)}


@functools.cache
def own_names(folder):
    """The names of attributes and methods that the classes of one folder define."""
    trees = [ast.parse(path.read_text()) for path in folder.glob("*.py")]
    return {name for tree in trees for name in defined_names(tree)}


def defined_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if ast.unparse(node.value) in SELF:
                yield node.attr


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_private_parts_of_keras_are_read_in_one_module(path):
    """Move what this finds to fixinit/_keras.py, with its reason and a test."""
    place = path.relative_to(PACKAGE).as_posix()
    if place == "_keras.py":
        return
    assert not any(str(m).startswith("keras.src") for m in imported_modules(path))
    tree = ast.parse(path.read_text())
    own, of_keras = own_names(path.parent), names_private_to_keras()
    found = {
        (place, name)
        for owner, name in private_names(tree)
        if name not in own or (name in of_keras and owner not in SELF)
    }
    assert found <= FOREIGN


# What each part of theory may import of the others.
THEORY = {
    "errors": set(),
    "gaussian": set(),
    "calculus": {"errors", "gaussian"},
    "registry": {"errors"},
    "input_sizes": set(),
    "evaluation": {"calculus", "errors", "gaussian", "registry"},
    "application": {"calculus", "errors", "evaluation", "registry"},
    "rules": {
        *("application", "calculus", "errors"),
        *("evaluation", "gaussian", "registry"),
    },
    "propagation": {
        *("application", "calculus", "errors"),
        *("evaluation", "input_sizes", "registry"),
    },
    "gain": {"application", "calculus", "registry", "rules"},
    "prediction": {"calculus", "errors", "input_sizes", "propagation", "registry"},
    "criticality": {"prediction"},
    "tailoring": {"calculus", "errors", "gaussian", "propagation", "registry", "rules"},
}
# Where theory meets Keras. The mathematics depends on nothing but NumPy and SciPy.
THEORY_OF_KERAS = {
    *("evaluation", "rules", "application"),
    *("input_sizes", "propagation", "prediction", "criticality", "tailoring"),
}


@pytest.mark.parametrize("part", THEORY)
def test_the_parts_of_theory_point_one_way(part):
    folder = PACKAGE / "theory"
    paths = [*(folder / part).rglob("*.py"), *folder.glob(f"{part}.py")]
    assert paths
    modules = {name for path in paths for name in imported_modules(path)}
    found = {m.split(".")[2] for m in modules if m.startswith("fixinit.theory.")}
    assert found & set(THEORY) - {part} <= THEORY[part]
    if part not in THEORY_OF_KERAS:
        roots = {name.split(".")[0] for name in modules}
        assert roots <= STANDARD | {"numpy", "scipy", "fixinit"}


def test_theory_has_no_other_parts():
    paths = (PACKAGE / "theory").iterdir()
    names = {path.stem for path in paths if not path.name.startswith("__")}
    assert names == set(THEORY)


def test_no_two_files_of_theory_have_one_name():
    names = [path.stem for path in (PACKAGE / "theory").rglob("*.py")]
    names = [name for name in names if name != "__init__"]
    assert len(names) == len(set(names))


# What asks schemes, and names none.
ASKING = ("models", "conversion", "diagnostics", "theory")


def scheme_names():
    known = {name: type(schemes.get(name)) for name in schemes.names()}
    # Tests define more.
    ours = {k: v for k, v in known.items() if v.__module__.startswith("fixinit.")}
    return {*ours, *(scheme.__name__ for scheme in ours.values())}


def exempt_strings(tree):
    """The nodes of docstrings, and of the defaults of arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            yield node.value
        elif isinstance(node, ast.arguments):
            yield from [*node.defaults, *filter(None, node.kw_defaults)]


@pytest.mark.parametrize("package", ASKING)
def test_what_asks_schemes_names_none(package):
    """Neither in code nor in messages: `fixinit.schemes` says which there are."""
    # A function of theory may be called as the scheme that uses it.
    names = scheme_names() - set(fixinit.theory.__all__)
    for path in (PACKAGE / package).rglob("*.py"):
        tree = ast.parse(path.read_text())
        exempt = {id(node) for node in exempt_strings(tree)}
        for node in ast.walk(tree):
            words = set()
            if isinstance(node, ast.Attribute):
                words = {node.attr}
            elif isinstance(node, ast.Name):
                words = {node.id}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = set() if id(node) in exempt else re.findall(r"\w+", node.value)
            assert not names & set(words), (path, node.lineno)


@pytest.mark.parametrize(
    "module",
    [
        fixinit.initializers,
        fixinit.layers,
        fixinit.schemes,
        fixinit.models,
        fixinit.conversion,
        fixinit.optimizers,
        fixinit.graph,
        fixinit.diagnostics,
        fixinit.starts,
        fixinit.theory,
        fixinit.theory.calculus,
    ],
    ids=lambda module: module.__name__,
)
def test_everything_public_is_documented_with_an_example(module):
    for name in module.__all__:
        documentation = getattr(module, name).__doc__
        assert documentation, name
        assert ">>>" in documentation, name


@pytest.mark.parametrize("module", [fixinit.theory, fixinit.theory.calculus])
def test_functions_of_theory_document_what_they_take_and_return(module):
    for name in module.__all__:
        function = getattr(module, name)
        if inspect.isfunction(function):
            missing = {"Args:", "Returns:"} - set(function.__doc__.split())
            assert not missing, name


def typed_packages():
    """Names of the packages that have an `__all__`."""
    for module in pkgutil.walk_packages(fixinit.__path__, "fixinit."):
        exports = hasattr(importlib.import_module(module.name), "__all__")
        if module.ispkg and exports:
            yield module.name


def own_functions(cls):
    """The functions that call, make or read an object, written in fixinit."""
    for base in cls.__mro__:
        if not base.__module__.startswith("fixinit"):
            continue
        for name, member in vars(base).items():
            if isinstance(member, property):
                member = member.fget
            member = inspect.unwrap(getattr(member, "__func__", member))
            public = name in ("__init__", "__call__") or not name.startswith("_")
            # A field's default may be a function of NumPy's.
            ours = getattr(member, "__module__", "").startswith("fixinit")
            if public and ours and inspect.isfunction(member):
                yield member


def missing_annotations(function):
    """Names of arguments, and "return", that a function leaves untyped."""
    names = set(inspect.signature(function).parameters) - {"self", "cls"}
    if function.__name__ != "__init__":
        names.add("return")
    return names - set(function.__annotations__)


@pytest.mark.parametrize("package", typed_packages())
def test_everything_public_is_typed(package):
    module, untyped = importlib.import_module(package), {}
    for name in module.__all__:
        member = getattr(module, name)
        functions = own_functions(member) if inspect.isclass(member) else [member]
        for function in filter(inspect.isfunction, functions):
            if missing := missing_annotations(function):
                untyped[function.__qualname__] = missing
    assert not untyped
