"""numba's `njit` with an optional disk cache: functions that it cannot store or load are compiled again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numba
from numba.core.caching import FunctionCache


def njit(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function on its first call.

    Args:
        cache: Whether compiled code is cached on disk, if there is a place for it.
        options: Those of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        compiled = numba.njit(**options)(function)
        if cache and hasattr(compiled, "enable_caching"):
            with contextlib.suppress(RuntimeError):  # No folder is writable.
                compiled._cache = _Cache(function)
        return compiled

    return decorate


class _Cache(FunctionCache):
    """numba's cache of a function, tolerant of full or damaged disks."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the cached code for a signature; None if it cannot be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # Damaged files may raise any error.
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Cache the compiled code for a signature, if the disk allows it."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)
