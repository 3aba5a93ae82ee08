"""Orders of graphs, whichever they are; and the scalar engine on graphs that are deep or have many paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from tinygrad2.study.course.checks.e03_value import Value, ladder
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text

Graph = dict[str, list[str]]

SMALL: dict[str, Graph] = {
    "one node": {"a": []},
    "a * a": {"c": ["a", "a"], "a": []},
    "a diamond": {"loss": ["c", "d"], "c": ["a"], "d": ["a"], "a": []},
    "a diamond with one side longer": {"loss": ["c", "e"], "c": ["a"], "d": ["c"], "e": ["d"], "a": []},
    "the same, the longer side first": {"loss": ["e", "c"], "c": ["a"], "d": ["c"], "e": ["d"], "a": []},
    "a used early and late": {"loss": ["a", "f"], "f": ["e", "a"], "e": ["d", "d"], "d": ["a", "b"], "a": ["b"], "b": []},
    "a node that is not used": {"loss": ["a", "b"], "other": ["a", "loss"], "a": [], "b": ["a"]},
}


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    sound = True
    for label, graph in {**SMALL, "a ladder of 12 rungs": rungs(12)}.items():
        for found, right in zip(walked(theirs, label, graph), walked(OURS, label, graph), strict=True):
            yield found
            sound = sound and found == right
    if not sound:  # there may be no end to what follows
        return
    yield from walked(theirs, "a chain of 100,000", chain(100_000))
    yield from walked(theirs, "a ladder of 40 rungs", rungs(40))

    def value_in_a_chain_of_3000_additions(number: float) -> float:
        a = theirs.Value(number)
        sum((a for _ in range(3000)), start=a * a).backward()
        return float(a.grad)

    def value_in_a_ladder_of_40_rungs(number: float) -> float:
        a = theirs.Value(number)
        ladder(a, 40).backward()
        return float(a.grad)

    yield Call(value_in_a_chain_of_3000_additions, draw.number(1, 2))
    yield Call(value_in_a_ladder_of_40_rungs, draw.number(1, 2))


def chain(nodes: int) -> Graph:
    """Each was made from the next."""
    return {str(i): [str(i + 1)] if i + 1 < nodes else [] for i in range(nodes)}


def rungs(n: int) -> Graph:
    """Each was made from the next, twice, and of something in between."""
    graph: Graph = {}
    for i in range(n):
        graph |= {f"{i}": [f"{i + 1}", f"{i}*"], f"{i}*": [f"{i + 1}"]}
    return {**graph, f"{n}": []}


def walked(theirs: Any, label: str, graph: Graph) -> Iterator[tuple[str, Any]]:
    """What is true of every right order of a graph, and, unless it is huge, the number of paths to each node."""
    root, small = next(iter(graph)), len(graph) < 100
    found = list(theirs.order(root, graph.__getitem__))
    times = Counter(found)
    once = {node: times[node] for node in graph}
    yield f"order of {label}: how often each node is there", once if small else [min(once.values()), max(once.values())]
    place = {node: i for i, node in enumerate(found)}
    early = sum(place.get(x, -1) <= place[user] for user in place for x in graph[user])
    yield f"order of {label}: how many nodes stand before one of their users", early
    if len(graph) > 1000:
        return
    count = theirs.paths(root, graph.__getitem__)
    numbers = {node: float(count.get(node, 0)) for node in graph}
    yield f"paths of {label}", numbers if small else [sum(numbers.values()), max(numbers.values())]


def order(node: str, inputs: Callable[[str], list[str]]) -> list[str]:
    """A node comes when the last of its users has come."""
    graph, left = {node: inputs(node)}, [node]
    while left:
        new = {x: inputs(x) for x in graph[left.pop()] if x not in graph}
        graph |= new
        left += new
    users, found = Counter(x for used in graph.values() for x in used), [node]
    for one in found:
        for x in graph[one]:
            users[x] -= 1
            if not users[x]:
                found.append(x)
    return found


def paths(node: str, inputs: Callable[[str], list[str]]) -> dict[str, int]:
    """Each node has the paths of its users."""
    everything = order(node, inputs)
    users: dict[str, list[str]] = {one: [] for one in everything}
    for one in everything:
        for x in inputs(one):
            users[x].append(one)
    count = {node: 1}
    for one in everything[1:]:
        count[one] = sum(count[user] for user in users[one])
    return count


OURS = SimpleNamespace(order=order, paths=paths, Value=Value)

EXERCISE = Exercise(
    week=1,
    minutes=45,
    show=show,
    ours=OURS,
    idea=Text(
        "Keep a stack of (node, done). Take one off: if it is new, put it back as done, and its inputs on top of it; when it "
        "comes up as done, all its inputs are in the list, so it can go there too.",
        "用一个存放 (node, done) 的栈。取出一个：若是新节点，就标记为 done 放回去，再把它的输入压在上面；当它以 done "
        "的身份再次出现时，它的所有输入都已在列表中，于是它也可以放进去。",
    ),
    mistakes=[
        Mistake(
            "    return found[::-1]",
            "    return found",
            Text(
                "The order is the other way round: the inputs come before those that use them. That is what forward needs.",
                "顺序反了：输入排在了使用者之前。这是前向所需的顺序。",
            ),
        ),
        Mistake(
            "        if done:\n            found.append(one)\n        elif one not in seen:\n"
            "            seen.add(one)\n            stack.append((one, True))\n",
            "        if one not in seen:  # and enters the order at once\n"
            "            seen.add(one)\n            found.insert(0, one)\n",
            Text(
                "A node enters the list when it is found first, though a user of it may be found later. It may enter only "
                "after all its inputs.",
                "节点第一次被找到时就进入了列表，而它的某个使用者可能之后才被找到。应在其所有输入之后再进入（最后倒过来）。",
            ),
        ),
        Mistake(
            "        one, done = stack.pop()\n        if done:\n            found.append(one)\n        elif one not in seen:\n"
            "            seen.add(one)\n            stack.append((one, True))\n",
            "        one, done = stack.pop(0)\n        if one not in seen:\n            seen.add(one)\n            "
            "found.insert(0, one)\n",
            Text(
                "That goes by the distance from the first node: one that is near by one way and far by another comes too "
                "early.",
                "这是按离起点的距离排序：若某节点一条路近、另一条路远，它就来得太早。",
            ),
        ),
        Mistake(
            "        elif one not in seen:\n",
            "        else:  # whether it is new or not\n",
            Text(
                "A node is visited once for every path to it, and there may be 2**40 of them: remember which were visited.",
                "每条路径都会重新访问一次节点，而路径可能有 2**40 条：要记住哪些节点已访问过。",
            ),
        ),
        Mistake(
            "    found, seen, stack = [], set(), [(node, False)]\n    while stack:\n        one, done = stack.pop()\n"
            "        if done:\n            found.append(one)\n        elif one not in seen:\n            seen.add(one)\n"
            "            stack.append((one, True))\n            stack += [(x, False) for x in inputs(one)]\n",
            "    def visit(one):  # calls itself\n        if one not in seen:\n            seen.add(one)\n"
            "            for x in inputs(one):\n                visit(x)\n            found.append(one)\n\n"
            "    found, seen = [], set()\n    visit(node)\n",
            Text(
                "A function that calls itself goes as deep as the graph, and Python stops it after about 1000 calls: keep a "
                "list of what is left to do.",
                "调用自身的函数会和图一样深，而 Python 在约 1000 层时就会中止：应改用列表记录还要做的事。",
            ),
        ),
        Mistake(
            "        elif one not in seen:\n            seen.add(one)\n            stack.append((one, True))\n"
            "            stack += [(x, False) for x in inputs(one)]\n",
            "        else:  # it was noted when it was put on the stack\n            stack.append((one, True))\n"
            "            for x in inputs(one):\n                if x not in seen:\n"
            "                    seen.add(x)\n                    stack.append((x, False))\n",
            Text(
                "A node is remembered when it is put on the stack, not when it is visited: one that waits there may have to "
                "come earlier, since another node needs it first.",
                "节点在压入栈时就被记为已访问，而不是在真正访问时：等在栈里的节点可能要提前，因为别的节点先需要它。",
            ),
        ),
        Mistake(
            "    return found[::-1]",
            "    return found[-2::-1]",
            Text(
                "The first node is missing: the order begins with the node that was given.",
                "缺少起点：顺序应从给定的节点开始。",
            ),
        ),
        Mistake(
            "count[x] = count.get(x, 0) + count[one]",
            "count[x] = count[one]",
            Text(
                "The number of the last user replaces the others: those of all users add up.",
                "最后一个使用者的数覆盖了其他的：所有使用者的数要相加。",
            ),
        ),
        Mistake(
            "count[x] = count.get(x, 0) + count[one]",
            "count[x] = count.get(x, 0) + 1",
            Text(
                "This counts the uses of a node. Each use brings as many paths as lead to the user.",
                "这里数的是节点被使用的次数。每次使用带来的路径数，等于通向该使用者的路径数。",
            ),
        ),
        Mistake(
            "        for x in inputs(one):\n",
            "        for x in set(inputs(one)):\n",
            Text(
                "In a * a, a is used twice, and both uses count.",
                "在 a * a 中，a 被使用了两次，两次都要计入。",
            ),
        ),
        Mistake(
            "    count = {node: 1}\n",
            "    count = {node: 0}\n",
            Text(
                "One path leads from a node to itself, the empty one; from 0, all sums stay 0.",
                "从节点到自身有一条路径，即空路径；若从 0 开始，所有的和都是 0。",
            ),
        ),
    ],
)
