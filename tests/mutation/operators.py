"""Makes the mutants of a module: each is one small change of its syntax tree.

Texts are left alone, and so are annotations, assertions, the type checker's half of a
module, and calls that write a log: a test that pins them pins words.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

#: A comparison, and what it is turned into: its contrary, and the bound moved by one.
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.GtE, ast.LtE),
    ast.LtE: (ast.Gt, ast.Lt),
    ast.Gt: (ast.LtE, ast.GtE),
    ast.GtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}

ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}

#: Fields that hold types, and decorators.
_UNTOUCHED = frozenset({"annotation", "returns", "decorator_list"})

#: What writes a log or a warning, by the name before the dot.
_LOGS = frozenset({"logging", "logger", "log", "warnings"})

#: No longer piece of code is shown for a mutant, if a shorter one holds it.
_SHOWN = 100


class Edit(NamedTuple):
    """One change of a tree: what stands at a place in a node or a list of nodes."""

    holder: Any
    place: Any  #: the name of a field, or the index in a list
    new: Any

    def swap(self) -> Edit:
        """Make the change; return the one that takes it back."""
        if isinstance(self.holder, list):
            old = self.holder[self.place]
            self.holder[self.place] = self.new
        else:
            old = getattr(self.holder, self.place)
            setattr(self.holder, self.place, self.new)
        return Edit(self.holder, self.place, old)


class Mutant(NamedTuple):
    """A change, how it is shown, and where it is."""

    line: int
    scope: str  #: the function or class around it, "" for the module itself
    before: str
    after: str
    edit: Edit
    span: tuple[int, int] | None  #: lines of the function; None if it runs at import

    @property
    def identity(self) -> tuple[str, str, str]:
        """What stays the same while the lines above it come and go."""
        return self.scope, self.before, self.after


def make_mutants(tree: ast.Module) -> list[Mutant]:
    """Return the mutants of a module, in the order of its lines."""
    made = (_describe(chain, edit) for chain, edit in _walk(tree, []))
    mutants = [mutant for mutant in made if mutant is not None]
    return sorted(mutants, key=lambda mutant: mutant.line)


def _walk(node: ast.AST, above: list[ast.AST]) -> Iterator[tuple[list[ast.AST], Edit]]:
    """Yield each change at a node and below it, with the nodes from the top to it."""
    chain = [*above, node]
    for edit in _edit_fields(node):
        yield chain, edit
    for name, value in ast.iter_fields(node):
        if name in _UNTOUCHED or (name == "body" and _is_for_types(node)):
            continue
        places = list(enumerate(value)) if isinstance(value, list) else [(name, value)]
        holder = value if isinstance(value, list) else node
        for place, child in places:
            if not isinstance(child, ast.AST) or _is_left_alone(child, chain):
                continue
            for new in _make_substitutes(child, chain, name):
                yield chain, Edit(holder, place, new)
            yield from _walk(child, chain)


def _edit_fields(node: ast.AST) -> Iterator[Edit]:
    """Yield the changes of a node that leave it in its place."""
    if isinstance(node, ast.Compare):
        for place, sign in enumerate(node.ops):
            for turned in COMPARISONS[type(sign)]:
                yield Edit(node.ops, place, turned())
    elif isinstance(node, ast.Return) and not _is_constant(node.value):
        yield Edit(node, "value", ast.Constant(None))
    elif isinstance(node, ast.arguments):
        yield from _drop_defaults(node)
    else:
        operator = _turn_operator(node)
        if operator is not None:
            yield Edit(node, "op", operator)


def _turn_operator(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.BoolOp):
        return ast.Or() if isinstance(node.op, ast.And) else ast.And()
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and not _joins_text(node):
        return ARITHMETIC[type(node.op)]() if type(node.op) in ARITHMETIC else None
    return None


def _drop_defaults(node: ast.arguments) -> Iterator[Edit]:
    if node.defaults:
        yield Edit(node, "defaults", node.defaults[1:])
    for place, default in enumerate(node.kw_defaults):
        if default is not None:
            yield Edit(node.kw_defaults, place, None)


def _make_substitutes(
    node: ast.AST, chain: list[ast.AST], field: str
) -> Iterator[ast.AST]:
    """Yield what may stand in place of a node that is in a field of the last above."""
    if isinstance(node, ast.Constant):
        for value in _drop_moved_bound(chain[-1], node, _make_other_values(node.value)):
            yield ast.Constant(value)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif isinstance(node, (ast.Break, ast.Continue)):
        yield ast.Continue() if isinstance(node, ast.Break) else ast.Break()
    elif _is_removable(node) and _is_run_late(chain):
        if not _binds_for_inner(node, chain):
            yield ast.Pass()
    if isinstance(node, ast.expr):
        yield from _wrap_expression(node, chain[-1], field)


def _wrap_expression(node: ast.expr, parent: ast.AST, field: str) -> Iterator[ast.expr]:
    """Yield the contrary of a condition; the bound of a slice moved by one."""
    if _is_condition(parent, field):
        is_turned = isinstance(node, ast.Compare) and len(node.ops) == 1
        if not is_turned and not isinstance(node, (ast.UnaryOp, ast.Constant)):
            yield ast.UnaryOp(ast.Not(), node)
    elif isinstance(parent, ast.Slice) and not _has_number(node):
        for sign in (ast.Add(), ast.Sub()):
            yield ast.BinOp(node, sign, ast.Constant(1))


def _make_other_values(value: object) -> tuple[Any, ...]:
    if isinstance(value, bool):
        return (not value,)
    return (value + 1, value - 1) if isinstance(value, (int, float)) else ()


def _drop_moved_bound(
    parent: ast.AST, node: ast.Constant, others: tuple[Any, ...]
) -> tuple[Any, ...]:
    """Leave out the number that makes of ``< 0`` what ``<= 0`` is."""
    if not isinstance(parent, ast.Compare) or type(node.value) is not int:
        return others
    sign = parent.ops[-1]
    if node is not parent.comparators[-1] or type(sign) in (ast.Eq, ast.NotEq):
        return others
    return others[1:] if isinstance(sign, (ast.Lt, ast.GtE)) else others[:1]


def _has_number(bound: ast.AST) -> bool:
    """Tell whether a number in the bound of a slice is changed already."""
    if isinstance(bound, ast.BinOp) and isinstance(bound.op, (ast.Add, ast.Sub)):
        return _has_number(bound.left) or _has_number(bound.right)
    if isinstance(bound, ast.UnaryOp):
        return _has_number(bound.operand)
    return isinstance(bound, ast.Constant)


def _is_condition(parent: ast.AST, field: str) -> bool:
    tests = (ast.If, ast.While, ast.IfExp)
    return (isinstance(parent, tests) and field == "test") or (
        isinstance(parent, ast.comprehension) and field == "ifs"
    )


def _is_removable(node: ast.AST) -> bool:
    """Tell whether a statement does something that its absence should show."""
    if isinstance(node, ast.Expr):
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        return isinstance(value, ast.Call)
    if isinstance(node, ast.AnnAssign):
        return node.value is not None
    return isinstance(node, (ast.Assign, ast.AugAssign, ast.Raise, ast.Delete))


def _binds_for_inner(node: ast.AST, chain: list[ast.AST]) -> bool:
    """Tell whether ``nonlocal`` in an inner function needs a statement."""
    bound = {
        one.id
        for one in ast.walk(node)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    }
    outer = [one for one in chain if isinstance(one, _FUNCTIONS)][-1]
    inner = (one for one in ast.walk(outer) if isinstance(one, _FUNCTIONS))
    return any(
        isinstance(one, ast.Nonlocal) and bound & set(one.names)
        for function in inner
        if function is not outer
        for one in ast.walk(function)
    )


def _is_run_late(chain: list[ast.AST]) -> bool:
    """Tell whether code below these nodes runs in a function, not at the import."""
    return any(
        isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) for node in chain
    )


def _is_constant(value: ast.expr | None) -> bool:
    """Tell whether it is nothing, or true or false, which is turned itself."""
    if value is None:
        return True
    return isinstance(value, ast.Constant) and value.value in (None, True, False)


def _joins_text(node: ast.BinOp | ast.AugAssign) -> bool:
    """Tell whether a sign stands between texts: to spoil it spoils nothing but them."""
    sides = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
    return any(map(_is_text, sides))


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
    return is_text or isinstance(node, ast.JoinedStr)


def _is_for_types(node: ast.AST) -> bool:
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Name):
        return False
    return node.test.id == "TYPE_CHECKING"


def _is_left_alone(node: ast.AST, above: list[ast.AST]) -> bool:
    """Tell whether nothing is changed here and below: a text of an error, a log."""
    if isinstance(node, ast.Assert) or (
        isinstance(node, ast.Name) and node.id == "TYPE_CHECKING"
    ):
        return True
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(one, ast.Raise) for one in above)
    call = node.value if isinstance(node, ast.Expr) else None
    function = call.func if isinstance(call, ast.Call) else None
    owner = function.value if isinstance(function, ast.Attribute) else None
    return isinstance(owner, ast.Name) and owner.id in _LOGS


def _describe(chain: list[ast.AST], edit: Edit) -> Mutant | None:
    """Return the mutant of a change; None if its code is the same."""
    scopes = [node for node in chain if isinstance(node, (ast.ClassDef, *_FUNCTIONS))]
    if isinstance(chain[-1], ast.arguments):
        scopes = scopes[:-1]  # defaults are made where the function is
    old = _look_at(edit)
    shown = old if isinstance(old, ast.stmt) else _choose_shown(chain)
    before = show(shown)
    back = edit.swap()
    after = show(edit.new if shown is old else shown)
    back.swap()
    if before == after:
        return None
    functions = [node for node in scopes if isinstance(node, _FUNCTIONS)]
    span = None
    if functions:
        span = (functions[0].body[0].lineno, functions[0].end_lineno or 0)
    scope = ".".join(node.name for node in scopes)
    return Mutant(_find_line(old, chain), scope, before, after, edit, span)


def _look_at(edit: Edit) -> object:
    if isinstance(edit.holder, list):
        return edit.holder[edit.place]
    return getattr(edit.holder, edit.place)


def _find_line(old: object, chain: list[ast.AST]) -> int:
    lines = (getattr(node, "lineno", 0) for node in (old, *reversed(chain)))
    return next(filter(None, lines), 1)


def _choose_shown(chain: list[ast.AST]) -> ast.AST:
    """Return the largest node around a change, a statement at most, that is short."""
    kinds = (ast.stmt, ast.Module)
    last = max(at for at, one in enumerate(chain) if isinstance(one, kinds))
    for node in chain[last:]:
        if len(show(node)) <= _SHOWN:
            return node
    return chain[-1]


def show(node: ast.AST) -> str:
    """Return the code of a node; of a statement with a body, its first line."""
    if not hasattr(node, "body") or not isinstance(node, ast.stmt):
        return ast.unparse(node)
    bare = copy.copy(node)
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        if hasattr(bare, field):
            setattr(bare, field, [ast.Pass()] if field == "body" else [])
    if isinstance(node, ast.Try):
        return "try:"
    if isinstance(node, ast.Match):
        return f"match {ast.unparse(node.subject)}:"
    return ast.unparse(bare).removesuffix("\n    pass").strip()
