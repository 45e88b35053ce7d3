"""The cache of compiled kernels when it cannot be written."""

import contextlib
import traceback
from typing import Any


def is_kernel_cache(error: BaseException) -> bool:
    """Return whether an error comes from numba's writing of compiled kernels to its cache."""
    chain: BaseException | None = error
    while chain is not None:
        frames = traceback.extract_tb(chain.__traceback__)
        if isinstance(chain, OSError) and any("numba" in f.filename and "caching" in f.filename for f in frames):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def keep_kernels_in_memory() -> bool:
    """Let numba go on where it cannot write its cache: what it compiled serves this process. False if it does already.

    numba has no setting for this; the one method that saves a compiled kernel is made to forgive a disk.
    """
    from numba.core import caching

    if getattr(caching.Cache.save_overload, "forgiving", False):
        return False
    cache: Any = caching.Cache
    save = cache.save_overload

    def forgiving(self: Any, signature: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            save(self, signature, data)

    vars(forgiving)["forgiving"] = True
    cache.save_overload = forgiving
    return True
