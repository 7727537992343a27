"""How values of arguments look, for services that check them before a job starts.

Regular expressions refuse what can be seen to be wrong without a context; the parser's own checks come behind them.
"""

from terraseam.pipeline.machines import ACCELERATORS, NO_ACCELERATOR
from terraseam.pipeline.options.segment import FORMATS

_WHOLE = "[1-9][0-9]*"
_NUMBER = r"[0-9]+(\.[0-9]+)?"
_POSITIVE = rf"({_WHOLE}(\.[0-9]+)?|0+\.[0-9]*[1-9][0-9]*)"
_NAME = r"[^\s,]([^,\r\n]*[^\s,])?"
_PLACE = r"(gs|s3)://[^,\r\n]+"
_SOURCE = r"(gs|s3|https?)://[^,\r\n]+"
_FORMAT = f"({'|'.join(FORMATS)})"

PATTERNS = {
    "rasters": f"^{_SOURCE}(,{_SOURCE})*$",
    "model": f"^{_NAME}(,{_NAME})*$",
    "output": f"^{_PLACE}$",
    "work": f"^{_PLACE}$",
    "bands": f"^{_WHOLE}(,{_WHOLE})*$",
    "classes": f"^{_NAME}(,{_NAME})*$",
    "aoi": f"^{_SOURCE}$",
    "allow-sources": r"^[^,\s]+(,[^,\s]+)*$",
    "min-area": f"^{_NUMBER}$",
    "fill-holes": f"^{_NUMBER}$",
    "min-score": r"^(0(\.[0-9]+)?|1(\.0+)?)$",
    "sieve": f"^{_POSITIVE}$",
    "simplify": f"^{_POSITIVE}$",
    "max-region": f"^{_WHOLE}$",
    "format": f"^{_FORMAT}(,{_FORMAT})*$",
    "batch-size": f"^(auto|{_WHOLE})$",
    "tile": f"^(auto|{_WHOLE})$",
    "halo": f"^(auto|0|{_WHOLE})$",
    "sheet": f"^{_WHOLE}$",
    "accelerator": f"^({'|'.join((*ACCELERATORS, NO_ACCELERATOR))})$",
}
"""Name of an argument of ``terraseam segment`` that takes a text or a number -> what its values match.

Lists are separated by commas. Places are those that workers of a service can reach.
"""
