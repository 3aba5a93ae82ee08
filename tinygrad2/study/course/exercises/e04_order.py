r"""The order: every node once, after all its users

    loss                 users first, inputs last:
     |  \
     c   |               loss, d, c, a     every node after its users
     |   d               loss, c, d, a     c before d: as good, unless d uses c
     |  /
     a                   loss, c, a, d     wrong: a waits for d

backward may hand on the gradient of a node only when it is complete, so it visits each node once, after all that use it. That
is a topological order of the graph. Two ways of walking fail:

- along every path: in a ladder of 40 rungs, each of which uses the one below twice, there are 2**40 paths. Remember where you
  have been.
- by a function that calls itself: Python allows about 1000 calls inside of each other, and a chain may have 100,000 nodes.
  Keep a list of what is left to do instead.

A node can be put into the order when all of its inputs have been: then the reverse is what backward needs.

A graph is given by a function: `inputs(node)` is the list of nodes that `node` was made from, in which one may stand twice
(a * a). Nodes can be keys of a dict and members of a set.

- `order(node, inputs)` -> a list of nodes that begins with `node`: it, and all that it was made from, each once, and each after
  all its users. Any such order is right.
- `paths(node, inputs)` -> a dict: for each of these nodes, how many paths lead from `node` to it; 1 for `node` itself. This is
  backward where every derivative is 1: a node hands its number to each of its inputs, where these add up.

At last, give the `backward` of your Value of exercise 3 such an order: the check runs it on such graphs too.
[zh]
顺序：每个节点只处理一次，且在其所有使用者之后

    loss                 先使用者，后输入：
     |  \
     c   |               loss, d, c, a     每个节点都在其使用者之后
     |   d               loss, c, d, a     c 在 d 之前：同样可以，除非 d 使用了 c
     |  /
     a                   loss, c, a, d     错误：a 要等 d

只有当一个节点的梯度完整之后，backward 才能把它传下去，所以每个节点只访问一次，并且在所有使用它的节点之后。这就是计算图的拓扑
序。有两种走法行不通：

- 沿每条路径走：一架有 40 级的梯子，每一级都使用下面一级两次，就有 2**40 条路径。要记住去过哪里。
- 用调用自身的函数：Python 只允许约 1000 层嵌套调用，而一条链可能有 100,000 个节点。应改用一个列表，记录还要做的事。

当一个节点的所有输入都已放入之后，就可以放入这个节点：把这样得到的顺序倒过来，就是 backward 所需要的。

计算图由一个函数给出：`inputs(node)` 是 `node` 所由来的节点的列表，同一节点可以出现两次（a * a）。节点可以作为 dict 的键和 set
的元素。

- `order(node, inputs)` -> 以 `node` 开头的节点列表：它本身以及它所由来的全部节点，每个出现一次，且都在其所有使用者之后。
  任何这样的顺序都对。
- `paths(node, inputs)` -> 一个 dict：对其中每个节点，从 `node` 到它有多少条路径；`node` 自身为 1。
  这就是所有导数都为 1 时的 backward：每个节点把自己的数交给它的每个输入，在那里相加。

最后，让练习 3 中 Value 的 `backward` 也使用这样的顺序：检查也会在这样的图上运行它。
"""

from e03_value import Value as Value  # whose backward is checked here too


def order(node, inputs):
    """A node, and a function from a node to its inputs -> a list of nodes."""
    # <hole>
    found, seen, stack = [], set(), [(node, False)]
    while stack:
        one, done = stack.pop()
        if done:
            found.append(one)
        elif one not in seen:
            seen.add(one)
            stack.append((one, True))
            stack += [(x, False) for x in inputs(one)]
    return found[::-1]
    # </hole>


def paths(node, inputs):
    """A node, and a function from a node to its inputs -> {node: number of paths}."""
    # <hole>
    count = {node: 1}
    for one in order(node, inputs):
        for x in inputs(one):
            count[x] = count.get(x, 0) + count[one]
    return count
    # </hole>
