"""numba's `njit` with a cache that is a convenience: what the disk does not keep or give back is compiled again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numba
from numba.core.caching import FunctionCache


def njit(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function when it is called first.

    Args:
        cache: Whether what was compiled is kept on disk, where there is a place for it.
        options: Those of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        compiled = numba.njit(**options)(function)
        if cache and hasattr(compiled, "enable_caching"):
            with contextlib.suppress(RuntimeError):  # Nowhere can it be written.
                compiled._cache = _Cache(function)
        return compiled

    return decorate


class _Cache(FunctionCache):
    """numba's cache of a function, for disks that may be full or damaged."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was kept for a signature; None where that cannot be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # Of what is damaged, any error may come.
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled for a signature, if the disk takes it."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)
