"""The house: a file imports only from rooms below its own, and nothing runs in circles.

A room is a folder or a file directly in a package. Imports are read from the sources, wherever they stand: at the top, in a
function, in a module's `__getattr__` or under TYPE_CHECKING. What `import_module` loads is not read: the kernels,
which are chosen when they are first called.

    python tests/test_floors.py gpt2            # every room with its floor, its lines and the rooms it imports from
    python tests/test_floors.py gpt2 --files    # every file with its first line
"""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("tinygrad2", "gpt2")


def sources(package, root=ROOT):
    """The files of a package by the names of their modules; a folder has that of its __init__.py."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports(files):
    """Each module, and the modules of the package that its source imports."""
    found = {}
    for module, path in files.items():
        names = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{module}: an import that begins with a dot is not read here"
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        # `from a.b import c` is the module a.b.c, if there is one, or else a.b.
        nearest = ({name, name.rpartition(".")[0]} & files.keys() for name in names)
        found[module] = {max(both, key=len) for both in nearest if both} - {module}
    return found


def room(module):
    """The folder or the file directly in the package; of the package itself, its name."""
    parts = module.split(".")
    return parts[min(1, len(parts) - 1)]


def rooms(graph):
    """The same arrows between rooms. What the package itself hands out is above all of them."""
    found = {room(module): set() for module in graph}
    for module, names in graph.items():
        found[room(module)] |= {room(name) for name in names if "." in name} - {room(module)}
    return found


def floors(graph):
    """The height of each: 0 imports nothing, and each is above all that it imports. Raises ValueError for a circle."""
    heights = {}

    def height(name, path=()):
        if name in path:
            raise ValueError(" -> ".join([*path[path.index(name) :], name]))
        if name not in heights:
            heights[name] = 1 + max((height(other, (*path, name)) for other in sorted(graph[name])), default=-1)
        return heights[name]

    for name in sorted(graph):
        height(name)
    return heights


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_imports_upward(package):
    graph = imports(sources(package))
    assert len(graph) > 50
    floors(rooms(graph))
    floors(graph)


def test_the_engine_knows_nothing_of_language_and_the_ops_nothing_of_tensors():
    names = [name for path in sources("tinygrad2").values() for name in _roots(path)]
    assert "gpt2" not in names
    graph = imports(sources("tinygrad2"))
    assert not any("tinygrad2.tensor" in graph[module] for module in graph if module.startswith("tinygrad2.ops"))


def _roots(path):
    """The first part of all that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).split(".")[0]


@pytest.mark.parametrize(
    ("files", "circle"),
    [
        ({"a.py": "def f():\n    from p import b", "b.py": "import p.a"}, "a -> b -> a"),
        ({"a.py": "import p.b.c", "b/__init__.py": "", "b/c.py": "import p.b.d", "b/d.py": "from p.a import x"}, "a -> b -> a"),
        ({"a.py": "import p.b", "b.py": "def __getattr__(name):\n    import p.a"}, "a -> b -> a"),
    ],
    ids=["lazy", "a folder", "__getattr__"],
)
def test_a_circle_is_found(tmp_path, files, circle):
    """The control."""
    for name, text in {"__init__.py": "", **files}.items():
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_text(text)
    with pytest.raises(ValueError, match=f"^{circle}$"):
        floors(rooms(imports(sources("p", tmp_path))))


def show(package, each_file):
    """The table of a package."""
    files = sources(package)
    graph = imports(files)
    if each_file:
        for path in files.values():
            first = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0]
            print(f"{path.relative_to(ROOT)!s:46}{len(path.read_text('utf-8').splitlines()):5}  {first}")
    between = {name: below for name, below in rooms(graph).items() if name != package}
    try:
        heights = floors(between)
    except ValueError as error:
        print(f"a circle: {error}")
        heights = dict.fromkeys(between, 0)
    lines = dict.fromkeys(between, 0)
    for module, path in files.items():
        if "." in module:
            lines[room(module)] += len(path.read_text("utf-8").splitlines())
    print(f"\n{'room':16}{'floor':>6}{'lines':>7}  imports from")
    for name in sorted(between, key=lambda name: (-heights[name], name)):
        print(f"{name:16}{heights[name]:6}{lines[name]:7}  {', '.join(sorted(between[name]))}")
    arrows, all_arrows = (sum(map(len, g.values())) for g in (between, graph))
    count = f"{len(between)} rooms, {max(heights.values()) + 1} floors, {arrows} arrows"
    print(f"\n{count}; {len(files)} files, {all_arrows} imports")


if __name__ == "__main__":
    if sys.argv[1:] not in [[package, *more] for package in ("gpt2", "tinygrad2") for more in ([], ["--files"])]:
        sys.exit("usage: python tests/test_floors.py gpt2|tinygrad2 [--files]")
    show(sys.argv[1], "--files" in sys.argv)
