"""Users are counted first; a node is ready when none is left."""

from collections import Counter, deque

from e03_value import Value as Value


def order(node, inputs):
    users, left, seen = Counter(), [node], {node}
    while left:
        for x in inputs(left.pop()):
            users[x] += 1
            if x not in seen:
                seen.add(x)
                left.append(x)
    found, ready = [], deque([node])
    while ready:
        one = ready.popleft()
        found.append(one)
        for x in inputs(one):
            users[x] -= 1
            if users[x] == 0:
                ready.append(x)
    return tuple(found)


def paths(node, inputs):
    count = Counter({node: 1})
    for one in order(node, inputs):
        for x in inputs(one):
            count[x] += count[one]
    return count
