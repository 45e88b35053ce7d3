"""The largest score of each row over some keys, with explicit vectors: the inner loop of the hardmax filter.

A loop that numba vectorises by itself uses half the width of a machine with 512-bit vectors, and reads the rows again
for every key. Here ``VECTORS`` vectors of rows are combined with ``KEYS`` keys in registers. Scores are fused
multiply-adds, not canonical: callers must allow for a slack and let canonical arithmetic decide. LLVM splits the
vectors on machines with narrower ones.
"""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, disallow-untyped-calls=False
# mypy: disallow-untyped-decorators=False, check-untyped-defs=False

from llvmlite import ir  # type: ignore[import-untyped,unused-ignore]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES, VECTORS, KEYS = 8, 4, 4

#: Rows that are combined with a key at once; row counts are padded to a multiple.
GROUP = LANES * VECTORS

#: Dimensions for which the loop over coordinates is unrolled.
UNROLLED = (2, 3, 4)

_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
_INDEX = ir.IntType(64)
_SHUFFLE = ir.VectorType(ir.IntType(32), LANES)


@intrinsic
def raise_tops(typing_context, queries, keys, first, last, tops):
    """Raise ``tops[r]`` to the largest score of row r among keys ``first`` to ``last - 1``.

    ``queries`` is ``(dim, rows)``, rows a multiple of ``GROUP``; ``keys`` is ``(tokens, dim)`` with at least
    ``KEYS`` tokens, both C-contiguous. A range shorter than ``KEYS`` is widened downwards.
    """
    return types.void(queries, keys, first, last, tops), _generate


def _generate(context, builder, signature, args):
    """Write the loop for each unrolled dimension, and a general one."""
    arrays = [context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 1, 4)]
    dim, rows = (builder.extract_value(arrays[0].shape, axis) for axis in (0, 1))
    sweep = _Sweep(builder, [array.data for array in arrays], rows, args[2], args[3])
    done, any_dim = (builder.append_basic_block(name) for name in ("done", "any_dim"))
    choice = builder.switch(dim, any_dim)
    for fixed in UNROLLED:
        block = builder.append_basic_block(f"dim_{fixed}")
        choice.add_case(_INDEX(fixed), block)
        builder.position_at_end(block)
        sweep.write(_INDEX(fixed), fixed)
        builder.branch(done)
    builder.position_at_end(any_dim)
    sweep.write(dim, None)
    builder.branch(done)
    builder.position_at_end(done)
    return context.get_dummy_value()


class _Sweep:
    """Writes the code of the loops over all rows and all keys."""

    def __init__(self, builder, pointers, rows, first, last):
        self.builder, self.rows, self.first, self.last = builder, rows, first, last
        self.queries, self.keys, self.tops = pointers
        self.scores = [[cgutils.alloca_once(builder, _VECTOR) for _ in range(VECTORS)] for _ in range(KEYS)]
        self.best = [cgutils.alloca_once(builder, _VECTOR) for _ in range(VECTORS)]
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        self.multiply_add = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f64")

    def write(self, dim, fixed):
        """Write the loops over groups of rows and of keys; ``fixed`` is the dimension when it is a constant."""
        build = self.builder
        with cgutils.for_range_slice(build, _INDEX(0), self.rows, _INDEX(GROUP), inc=True) as (row, _):
            for number, best in enumerate(self.best):
                build.store(build.load(self._vector(self.tops, row, number), align=8), best)
            with cgutils.for_range_slice(build, self.first, self.last, _INDEX(KEYS), inc=True) as (key, _):
                # The last group is moved down to end at the last key; keys that it repeats do not change a maximum.
                end = build.sub(self.last, _INDEX(KEYS))
                start = build.select(build.icmp_signed("<", key, end), key, end)
                self._scores(row, start, dim, fixed)
                self._keep_larger()
            for number, best in enumerate(self.best):
                build.store(build.load(best), self._vector(self.tops, row, number), align=8)

    def _scores(self, row, start, dim, fixed):
        build = self.builder
        keys = [build.gep(self.keys, [build.mul(build.add(start, _INDEX(u)), dim)]) for u in range(KEYS)]
        if fixed is not None:
            for c in range(fixed):
                self._coordinate(_INDEX(c), row, keys, starts=c == 0)
            return
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        for score in (score for line in self.scores for score in line):
            build.store(zero, score)
        with cgutils.for_range(build, dim) as loop:
            self._coordinate(loop.index, row, keys, starts=False)

    def _coordinate(self, c, row, keys, *, starts):
        """Add one coordinate of the products of all rows of the group with all its keys."""
        build = self.builder
        offset = build.add(row, build.mul(c, self.rows))
        rows = [build.load(self._vector(self.queries, offset, v), align=8) for v in range(VECTORS)]
        for key, line in zip(keys, self.scores, strict=True):
            entry = build.insert_element(
                ir.Constant(_VECTOR, ir.Undefined), build.load(build.gep(key, [c])), ir.IntType(32)(0)
            )
            entry = build.shuffle_vector(entry, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(_SHUFFLE, [0] * LANES))
            for part, score in zip(rows, line, strict=True):
                if starts:
                    build.store(build.fmul(part, entry), score)
                else:
                    build.store(build.call(self.multiply_add, [part, entry, build.load(score)]), score)

    def _keep_larger(self):
        """Raise the best score of every row to the largest of its scores in registers."""
        build = self.builder
        for number, best in enumerate(self.best):
            top = build.load(best)
            for line in self.scores:
                score = build.load(line[number])
                top = build.select(build.fcmp_ordered(">", score, top), score, top)
            build.store(top, best)

    def _vector(self, pointer, offset, number):
        build = self.builder
        address = build.gep(pointer, [build.add(offset, _INDEX(number * LANES))])
        return build.bitcast(address, _VECTOR.as_pointer())
