"""What may be changed in a source file: operators, constants, conjuncts, conditions, statements, ends of ranges."""

import ast
import copy
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMPARED: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMBINED: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Pow: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
NAMED = {
    "min": "max", "argmin": "argmax", "minimum": "maximum", "any": "all", "floor": "ceil", "cumsum": "cumprod",
    "mean": "max", "sum": "mean", "median": "mean", "sin": "cos", "exp": "expm1", "ones": "zeros",
}  # fmt: skip
NAMED |= {new: old for old, new in NAMED.items() if old not in {"mean", "sum", "median", "exp"}} | {"max": "min"}


@dataclass(frozen=True)
class Change:
    """One change of one function."""

    room: str
    file: str
    function: str
    number: int  # of equal changes in the function, so that the name holds when other lines move
    before: str
    after: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """Name it, for ``mutate.toml``."""
        return f"{self.file}:{self.function}: {self.before} -> {self.after} #{self.number}"

    def applied(self, source: bytes) -> bytes:
        """Return the changed source."""
        return source[: self.start] + self.after.encode() + source[self.end :]


def alternatives(node: ast.AST) -> Iterator[ast.AST | str]:  # noqa: PLR0912
    """Yield what a node may become."""
    new = copy.deepcopy(node)
    match new:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                yield ast.Compare(new.left, [*ops[:index], COMPARED[type(op)](), *ops[index + 1 :]], new.comparators)
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in COMBINED:
            new.op = COMBINED[type(op)]()
            yield new
        case ast.BoolOp(values=values):
            for index in range(len(values)):
                rest = values[:index] + values[index + 1 :]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(new.op, rest)
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(2 * value if abs(value) > 16 else value + 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(2 * value if value else 1.0)
        case ast.Constant(value="left" | "right" as value):
            yield ast.Constant("left" if value == "right" else "right")
        case ast.Call(func=ast.Name(id="range"), args=args) if not isinstance(args[-1], ast.Constant):
            last = 0 if len(args) == 1 else 1
            args[last] = ast.BinOp(args[last], ast.Sub(), ast.Constant(1))
            yield new
        case ast.Call(func=ast.Name(id=name)) if name in NAMED:
            new.func.id = NAMED[name]
            yield new
        case ast.Call(func=ast.Attribute(attr=name)) if name in NAMED:
            new.func.attr = NAMED[name]
            yield new
        case ast.Slice(upper=ast.expr() as upper) if not isinstance(upper, ast.Constant):
            new.upper = ast.BinOp(upper, ast.Sub(), ast.Constant(1))
            yield new
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield ast.UnaryOp(ast.Not(), test)  # spliced over the test alone
        case ast.AugAssign() | ast.Expr(value=ast.Call()) | ast.Continue() | ast.Break():
            yield "pass"
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            yield "pass"
    if isinstance(node, ast.AugAssign) and type(node.op) in COMBINED:
        yield "pass"


def skipped(node: ast.AST) -> bool:
    """Say whether nothing below a node is changed: messages, annotations, documentation."""
    raised = isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom)
    words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    messages = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("warn", "warning"))
    return raised or words or messages


def changes_of(room: str, path: Path, root: Path) -> list[Change]:
    """Return every change of the functions of a file."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    file, changes, seen = str(path.relative_to(root)), [], defaultdict(int)

    def visit(node: ast.AST, function: str) -> None:
        if skipped(node):
            return
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".lstrip(".")
            parts = node.body
            if isinstance(node, ast.FunctionDef):
                parts = [*node.args.defaults, *(d for d in node.args.kw_defaults if d), *parts]
        else:
            parts = [n for n in ast.iter_child_nodes(node) if n is not getattr(node, "annotation", None)]
        inside = bool(function) and not isinstance(node, ast.FunctionDef | ast.ClassDef)
        for new in alternatives(node) if inside else ():
            place = node.test if isinstance(node, ast.If | ast.While | ast.IfExp) else node
            after = new if isinstance(new, str) else ast.unparse(ast.fix_missing_locations(new))
            if isinstance(place, ast.expr) and not isinstance(place, ast.Slice):
                after = f"({after})"
            start = starts[place.lineno - 1] + place.col_offset
            end = starts[place.end_lineno - 1] + place.end_col_offset
            before = " ".join(source[start:end].decode().split())
            seen[function, before, after] += 1
            changes.append(Change(room, file, function, seen[function, before, after], before, after, start, end))
        for part in parts:
            visit(part, function)

    visit(ast.parse(source), "")
    return changes
