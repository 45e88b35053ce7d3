"""Types and shapes are checked at every call, as jaxtyping's decorator checks them, in a tenth of its time.

That decorator binds the arguments of each call to the signature, and checks them once more with what is returned: forty
microseconds, where a step of a few tokens takes twenty.
"""

import functools
import inspect

from beartype import beartype
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError, _decorator, config
from jaxtyping._storage import pop_shape_memo, push_shape_memo, shape_str

_jaxtyped = _decorator.jaxtyped


def install():
    """Let jaxtyping's hook check functions by ``checked``; classes, properties and the like stay with jaxtyping."""
    _decorator.jaxtyped = _checked_functions


def _checked_functions(thing=_decorator._sentinel, *, typechecker=_decorator._sentinel):
    return checked(thing) if inspect.isfunction(thing) else _jaxtyped(thing, typechecker=typechecker)


def checked(function):
    """Return a function whose arguments and result are checked in one scope of axis names.

    What an annotation means is looked up at the first call: by then every name that it uses is known.
    """
    if hasattr(function, "__checks__"):  # the __init__ that a class has from a dataclass above it
        return function
    checks = functools.cache(functools.partial(_checks, function))

    @functools.wraps(function)
    def call(*args, **kwargs):
        __tracebackhide__ = True
        if config.jaxtyping_disable:
            return function(*args, **kwargs)
        check_arguments, check_result = checks()
        axes = push_shape_memo({})
        try:
            check_arguments(*args, **kwargs)
            result = function(*args, **kwargs)
            check_result(ret0=result)
        except BeartypeCallHintViolation as violation:
            where = f"{function.__module__}.{function.__qualname__}"
            raise TypeCheckError(f"{where}: {violation}\n{shape_str(axes)}") from violation
        finally:
            pop_shape_memo()
        return result

    call.__checks__ = checks
    return call


def _checks(function):
    """Return a function that takes the same arguments and checks them, and one that checks what is given as ret0."""
    signature = inspect.signature(function)
    meaning = functools.partial(_decorator._destring_annotation, ns=function.__globals__)
    parameters = [one.replace(annotation=meaning(one.annotation)) for one in signature.parameters.values()]
    result = inspect.Signature(return_annotation=meaning(signature.return_annotation))
    names = function.__name__, function.__qualname__, function.__module__
    take = _decorator._make_fn_with_signature(*names, inspect.Signature(parameters), output=False)
    give, _ = _decorator._make_fn_with_signature(*names, result, output=True)
    return beartype(take), beartype(give)
