"""The check itself: what is compared, in which order, and which verdict follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad2.containers import leaves
from tinygrad2.errors import TinygradError
from tinygrad2.gradcheck import contract
from tinygrad2.gradcheck.diagnosis import Findings, diagnosis
from tinygrad2.gradcheck.differences import DOUBLE, SINGLE, Line
from tinygrad2.gradcheck.engines import case_of
from tinygrad2.gradcheck.engines.tensors import Tensors
from tinygrad2.gradcheck.instruments import accuracy
from tinygrad2.gradcheck.instruments import complex_step as complex_step_of
from tinygrad2.gradcheck.judging import OFF, UNKNOWN, Judged, judge
from tinygrad2.gradcheck.subject import COARSE_NOTE, Case, ContractError, DoubtError, Flat, settle
from tinygrad2.gradcheck.verdicts import INACCURATE, ORDER, RIGHT, UNDECIDABLE, WRONG, GradcheckResult, InputCheck, worst_of
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array

PROJECTIONS = 3
Progress = Callable[[int], object] | None


@np.errstate(all="ignore")  # what is not finite is judged
def gradcheck(
    f: Any,
    inputs: Sequence[Any],
    *,
    vjp: Callable[..., Any] | None = None,
    backward: Callable[..., Any] | None = None,
    value_and_grad: bool = False,
    engine: str | None = None,
    order: int = 1,
    fast: bool = False,
    complex_step: bool = False,
    ulps: float | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> GradcheckResult:
    """Compare the gradients of `f(*inputs)` with finite differences, in float64.

    An entry is *right* when it agrees within the error that the differences are estimated to have (see
    `differences`) or, at a kink, lies between the slopes of the two sides; *wrong* when it does not; and
    *undecidable* when the function is not deterministic, not finite, or too rough there for differences to tell. With `ulps`
    an entry that agrees is *inaccurate* when a sharper instrument shows it off by more than so many units in the last place.
    Also checked: that gradients are linear in the cotangent, have the inputs' shapes and no coarser dtypes, and are made
    without writing into what they are made from; and, of Tensors made of arrays, that float32 agrees within its own rounding.

    Whose gradient it is: that of `vjp`, `backward` or f itself, if one of these is given (then everything is NumPy), or else
    of the engine that the inputs, or f, are of: a PyTorch function or module, with its parameters; a JAX function; one written
    with HIPS autograd; anything with two methods `value(inputs)` and `pull(cotangents)`; or else a function of Tensors.

    Args:
        f: gives an array of any shape, or a container of them. It is called with the inputs, whose arrays are changed in place
            between calls; a function that reads them elsewhere, such as a model its parameters, works as well.
        inputs: float64 Tensors that want a gradient, or numbers and arrays with a point, which are converted to float64, or
            containers of these; of other engines their arrays. Anything else, such as ids, masks and settings, is handed on.
        vjp: `vjp(g, *inputs)` gives the cotangents of the inputs from that of the result.
        backward: `out, cache = f(*inputs)` and `backward(dout, cache)`, or `backward(*douts, cache)` of several outputs.
        value_and_grad: f gives `(value, gradients)`, the value being one number.
        engine: "tensors", "pytorch", "jax" or "autograd", where it should not be found by the types.
        order: 2 also checks the gradient of the gradient, in the same way.
        fast: compare a few random projections of the Jacobian, in a number of evaluations that does not depend on its
            size; where one disagrees, the whole Jacobian is checked to find the entry.
        complex_step: where the complex step (Squire & Trapp, 1998) gives what the differences give, within their error, it
            takes their place: exact to rounding, it finds what is wrong by less than differences can see. Elsewhere, as
            where f is not analytic (abs, a kink) or does not take complex numbers, the differences stay. It can turn
            *right* into *wrong*, never the reverse. Without `ulps` the table says how many derivatives it decided.
        ulps: how far off a derivative may be, beside what the last place of the inputs does to it, where the complex step, or a
            computation in more digits, can tell (`instruments`).
        names: what to call the inputs in the table.
        seed: decides the random cotangent, the projections, and the mixture of gradients that order=2 differentiates.
        progress: called with 1 after each entry that is checked; `fast` checks none unless it finds something.

    Raises:
        DtypeError: an input has too few digits or, being a Tensor, is not of float64 or wants no gradient; or the result is no
            floating-point number.
        TinygradError: there is no entry to check, arguments exclude each other, or the function gives something else than said.
    """
    if not isinstance(order, (int, np.integer)) or order < 1:
        raise TinygradError(f"gradcheck: order={order} was given; it takes a whole number from 1 on")
    if ulps is not None and not (isinstance(ulps, (int, float)) and ulps >= 0):
        raise TinygradError(f"gradcheck: ulps={ulps!r} was given; it takes a number of units in the last place, 0 or more")
    if fast and ulps is not None:
        raise TinygradError("gradcheck: ulps looks at single derivatives, and fast makes none; leave one of them out")
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise TinygradError(f"gradcheck: the seed is {seed!r}; give an integer from 0 on")
    case = case_of(f, inputs, vjp=vjp, backward=backward, value_and_grad=value_and_grad, engine=engine)
    if order > 1 and case.deep is None:
        what = "Tensors, JAX, and PyTorch without a module's parameters"
        raise TinygradError(f"gradcheck: order={order} differentiates the gradient itself, which is for functions of {what}")
    if names is not None and len(names) != len(case.names):
        raise TinygradError(f"gradcheck: {len(names)} names were given for {len(case.names)} inputs: {', '.join(case.names)}")
    case.names = list(names) if names is not None else case.names
    with case.around():
        result = _checked(case, fast, complex_step, ulps, seed, progress)
    tensors = case.subject if isinstance(case.subject, Tensors) else None
    if tensors and result.rows and result.verdict != WRONG and not any(isinstance(x, Tensor) for x in inputs):
        note = contract.in_float32(tensors, case.inputs, case.names)
        result = replace(result, verdict=WRONG, note=note) if note else result
    if order > 1 and result.verdict == RIGHT:
        if tensors and not tensors.recorded_alike(seed):
            note = (
                "the gradient with create_graph differs from the one without: check that the spec of each op equals its forward"
            )
            return replace(result, verdict=WRONG, note=note)
        second = gradcheck(
            case.deep(seed),
            leaves(dict(enumerate(inputs))),
            engine=case.engine,
            order=order - 1,
            fast=fast,
            complex_step=complex_step,
            ulps=ulps,
            names=[f"{name}'" for name in case.names],
            seed=seed,
            progress=progress,
        )
        note = f"{'second' if order == 2 else 'higher'} order: {second.note}" if second.note else ""
        result = replace(result, verdict=second.verdict, rows=(*result.rows, *second.rows), note=note)
    return result


def _checked(case: Case, fast: bool, complex_step: bool, ulps: float | None, seed: int, progress: Progress) -> GradcheckResult:
    settle(case)
    result = _compared(case, fast, complex_step, ulps, seed, progress)
    if result.rows and result.verdict != RIGHT and case.precision is DOUBLE and contract.is_coarse(Flat(case), seed):
        case.precision, case.note = SINGLE, COARSE_NOTE
        result = _compared(case, fast, complex_step, ulps, seed, progress)
    return replace(result, gradient=case.whose)


def _compared(case: Case, fast: bool, complex_step: bool, ulps: float | None, seed: int, progress: Progress) -> GradcheckResult:
    flat = Flat(case)
    try:
        base, pulled = contract.first_look(flat, seed)
        rows = _projected(flat, base, np.random.default_rng(seed), complex_step) if fast else None
        if rows is None:
            flat()  # what is pulled back is of the inputs as they are, and not as they were moved last
            rows, bent = _full(flat, base, pulled, complex_step, ulps, progress)
            if bent and worst_of(row.verdict for row in rows) != WRONG:
                return GradcheckResult(WRONG, tuple(rows), bent)
    except ContractError as broken:
        return GradcheckResult(WRONG, (), str(broken))
    except DoubtError as doubt:
        return GradcheckResult(UNDECIDABLE, (), str(doubt))
    return GradcheckResult(
        worst_of(row.verdict for row in rows),
        tuple(rows),
        "; ".join(filter(None, [case.note, getattr(case.subject, "note", "")])),
    )


def _full(
    flat: Flat,
    base: Array,
    pulled: tuple[Array, list[Array]],
    sharp: bool,
    ulps: float | None,
    progress: Progress,
) -> tuple[list[InputCheck], str]:
    """The whole Jacobian, and what is wrong where the cotangents of single outputs do not add up."""
    inputs = flat.case.inputs
    jacobians = [np.zeros((base.size, x.size)) for x in inputs]
    for i in range(base.size):
        cotangent = np.zeros(base.size)
        cotangent[i] = 1
        for jacobian, g in zip(jacobians, flat.pull(cotangent), strict=True):
            jacobian[i] = g.reshape(-1)
    judged = [_columns(flat, base, k, jacobians[k], sharp, progress) for k in range(len(inputs))]
    findings = Findings(flat, base, jacobians, [part.numeric for part in judged], [part.verdicts == OFF for part in judged])
    rows = [_row(flat, k, jacobians[k], part, sharp, ulps, findings) for k, part in enumerate(judged) if inputs[k].size]
    return rows, contract.not_linear(flat, base, pulled, jacobians)


def _columns(flat: Flat, base: Array, k: int, jacobian: Array, sharp: bool, progress: Progress) -> Judged:
    """Every entry of one input moved: arrays of the shape (outputs, entries)."""
    x, precision = flat.case.inputs[k], flat.case.precision
    scale = np.abs(np.where(np.isfinite(jacobian), jacobian, 0)).max(axis=1, initial=0)
    found = Judged(*(np.zeros(jacobian.shape, kind) for kind in (np.int8, float, float, bool, float)))
    for j, at in enumerate(np.ndindex(x.shape)):
        line = flat.line(k, at)  # a step may leave the domain; then a smaller one is tried
        size = max(1.0, abs(float(x[at]))) if np.isfinite(x[at]) else 1.0

        exact = None
        if sharp:
            along = np.zeros(x.shape)
            along[at] = 1
            exact = complex_step_of(flat, k, along)
        column = judge(jacobian[:, j], line, base, size, scale, precision, exact)
        for whole, part in zip(found, column, strict=True):
            whole[:, j] = part
        if not np.isfinite(x[at]):  # there is no slope at NaN, nor at infinity
            found.verdicts[:, j] = np.minimum(found.verdicts[:, j], UNKNOWN)
        if progress is not None:
            progress(1)
    return found


def _row(
    flat: Flat, k: int, jacobian: Array, judged: Judged, sharp: bool, ulps: float | None, findings: Findings
) -> InputCheck:
    """The row of an input: its worst derivative, and what there is to say."""
    x, name = flat.case.inputs[k], flat.case.names[k]
    among = judged.verdicts == judged.verdicts.max()
    largest = judged.errors[among].max()
    among &= judged.errors >= (1 - 1e-9) * largest
    apart = np.nan_to_num(np.abs(jacobian - judged.numeric), nan=np.inf)
    i, j = map(int, np.unravel_index(np.argmax(np.where(among, apart, -1.0)), among.shape))
    verdict, error, numeric = ORDER[judged.verdicts[i, j]], float(judged.errors[i, j]), float(judged.numeric[i, j])
    note = judged.decided if sharp else ""
    if verdict == WRONG:
        note = diagnosis(findings, k)
    elif verdict == UNDECIDABLE:
        note = _doubt(findings.base[i], x.flat[j], name)
    if verdict != WRONG and ulps is not None and flat.case.precision is DOUBLE:
        doubt = verdict == UNDECIDABLE
        found = accuracy(flat, k, jacobian, judged.numeric, judged.bound, best=doubt)
        if found.ulps > ulps:
            i, j, verdict, numeric = found.output, found.entry, INACCURATE, found.exact
            error = abs(jacobian[i, j] - numeric) / max(abs(numeric), abs(jacobian[i, j]))
            where = f"where {name} is {float(x.flat[j])!r}"
            note = f"off by {found.ulps:.3g} units in the last place, {where}, as {found.instrument} can tell"
        elif found.instrument and (not doubt or found.decided == jacobian.size):
            verdict = RIGHT
            note = (
                f"{found.instrument} can tell of {found.decided} of {jacobian.size}: within {ulps:g} units in the last place, "
                "beside what those of the inputs do"
            )
        elif not doubt:
            note = "nothing sharper than differences takes this function"
    at = tuple(map(int, np.unravel_index(j, x.shape)))
    return InputCheck(name, x.shape, verdict, error, (*flat.index(i), *at), float(jacobian[i, j]), numeric, note)


def _doubt(out: Any, x: Any, name: str) -> str:
    """Why a derivative cannot be told."""
    if not np.isfinite(x):
        return f"{name} is {x} there"
    if not np.isfinite(out):
        return f"the function is {out} there"
    return "the function jumps there, leaves its domain, or is too rough for differences"


def _projected(flat: Flat, base: Array, rng: np.random.Generator, sharp: bool) -> list[InputCheck] | None:
    """u J v for random u and v, per input; None if one of them does not agree."""
    rows = []
    precision = flat.case.precision
    weights = rng.standard_normal((PROJECTIONS, base.size))  # (projections, outputs)
    if len(flat.shapes) > 1:  # a large result shall not hide another
        sizes = [np.full(part.size, np.abs(part).max(initial=0) or 1.0) for part in flat.split(base)]
        weights /= np.concatenate(sizes)
    summed = 4 * float(np.hypot.reduce(weights * base, axis=1).max())
    grads = [flat.pull(u) for u in weights]
    for k, (x, name) in enumerate(zip(flat.case.inputs, flat.case.names, strict=True)):
        if not x.size:
            continue
        v = rng.standard_normal(x.shape)
        v /= np.sqrt(np.sum(v * v))
        along = flat.line(k, v=v)

        def line(t: float, along: Line = along) -> Array:
            return weights @ along(t)

        analytic = np.array([np.sum(g[k] * v) for g in grads])
        size = max(1.0, float(np.abs(x[np.isfinite(x)]).max(initial=0)))
        scale = float(np.abs(analytic).max())
        turned = complex_step_of(flat, k, v) if sharp else None
        exact = weights @ turned if turned is not None else None
        found = judge(analytic, line, weights @ base, size, scale, precision, exact, summed)
        if found.verdicts.any() or not np.isfinite(found.bound).all():  # at a kink it may hide in between the slopes
            return None
        worst = int(np.argmax(found.errors))
        numbers = float(found.errors[worst]), (worst,), float(analytic[worst]), float(found.numeric[worst])
        rows.append(InputCheck(name, x.shape, RIGHT, *numbers, found.decided if sharp else "", projected=True))
    return rows
