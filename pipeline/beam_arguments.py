"""The arguments for Apache Beam as a value: parsed once, and known without importing Beam."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

IMAGE = ("--sdk_container_image", "--worker_harness_container_image")
"""Beam's names of the option that says which image workers run in."""


@dataclass(frozen=True, slots=True)
class BeamArguments:
    """Options of Apache Beam as the user gave them, and what this package asks of them.

    Attributes:
        words: The arguments as Beam takes them.
        options: Name, with dashes, and value of each option in `words`, in order; the value is None where there is none.
    """

    words: tuple[str, ...] = ()
    options: tuple[tuple[str, str | None], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(_parse(self.words)))

    def pipeline_options(self) -> PipelineOptions:
        """Return what Beam makes of the words; nobody else hands them to Beam."""
        from apache_beam.options.pipeline_options import PipelineOptions

        return PipelineOptions(list(self.words))

    def after(self, defaults: Iterable[str]) -> BeamArguments:
        """Return these arguments behind others, over which they prevail."""
        return BeamArguments((*defaults, *self.words))

    def with_processes(self, number: int) -> BeamArguments:
        """Return these arguments for so many worker processes of the local runner."""
        return BeamArguments((*self.words, f"--direct_num_workers={number}"))

    def values(self, *names: str) -> list[str]:
        """Return the values of an option by its names, in order; an empty text where it stands without one."""
        return [value or "" for name, value in self.options if name in names]

    def last(self, *names: str) -> str | None:
        """Return the value of an option that counts, which is the last; None where it is not given."""
        return next(reversed(self.values(*names)), None)

    def has(self, *names: str) -> bool:
        """Return whether any of some options is given."""
        return bool(self.values(*names))

    @property
    def runner(self) -> str | None:
        """The runner, as the user spells it; None where none is named."""
        return self.last("--runner")

    @property
    def is_direct(self) -> bool:
        """Whether the runner is the local one."""
        return is_direct(self.runner)

    @property
    def is_dataflow(self) -> bool:
        """Whether the runner is Google's Dataflow."""
        return self._runner_class in ("dataflow", "dataflowrunner")

    @property
    def is_dask(self) -> bool:
        """Whether the runner is that of Dask."""
        return self._runner_class in ("dask", "daskrunner")

    @property
    def _runner_class(self) -> str:
        """The name of the runner in small letters, without its module."""
        return (self.runner or "").rpartition(".")[2].lower()

    @property
    def loops_back(self) -> bool:
        """Whether workers of a remote runner are processes of this machine."""
        return "LOOPBACK" in self.values("--environment_type")

    @property
    def service_is_here(self) -> bool:
        """Whether the service of Dataflow itself is on this machine, as in tests."""
        return urlsplit(self.last("--dataflow_endpoint") or "").hostname == "localhost"

    @property
    def project(self) -> str:
        """Google's project that pays; empty where none is given."""
        return self.last("--project") or ""

    @property
    def region(self) -> str:
        """Google's region of the workers; empty where none is given."""
        return self.last("--region") or ""

    @property
    def temp_location(self) -> str:
        """Folder of Dataflow's temporary files; empty where none is given."""
        return self.last("--temp_location") or ""

    @property
    def staging_location(self) -> str:
        """Folder of what Dataflow's workers install; empty where none is given."""
        return self.last("--staging_location") or ""

    @property
    def has_image(self) -> bool:
        """Whether an image is named that workers run in."""
        return self.has(*IMAGE)

    @property
    def has_setup_file(self) -> bool:
        """Whether a package is named that workers install."""
        return self.has("--setup_file")

    @property
    def brings_packages(self) -> bool:
        """Whether an image or packages are named, in which libraries for GPUs may be."""
        return any(self.values(*IMAGE, "--setup_file", "--requirements_file"))

    @property
    def machine_type(self) -> str | None:
        """The kind of machine that workers are; None where none is given."""
        return self.last("--machine_type", "--worker_machine_type")

    @property
    def experiments(self) -> list[str]:
        """Experiments of Beam and Dataflow that are asked for."""
        return self.values("--experiments", "--experiment")

    @property
    def service_options(self) -> list[str]:
        """What is asked of Dataflow's service, experiments among it."""
        return [*self.values("--dataflow_service_options"), *self.experiments]

    @property
    def is_flexible(self) -> bool:
        """Whether Dataflow may choose when the job runs, and on what machines."""
        return self.has("--flexrs_goal")

    @property
    def needs_login(self) -> bool:
        """Whether Google is asked with credentials."""
        return not self.has("--no_auth")

    @property
    def names_processes(self) -> bool:
        """Whether it is said how many worker processes or threads the local runner has."""
        return self.has("--direct_num_workers", "--direct_running_mode")

    @property
    def processes(self) -> int:
        """Processes of a run on this machine that call the network."""
        said = "1" if (number := self.last("--direct_num_workers")) is None else number
        if not said.isdecimal() or "multi_threading" in self.values("--direct_running_mode"):
            return 1
        return int(said) or os.cpu_count() or 1


def is_direct(runner: str | None) -> bool:
    """Return whether a name of a runner, in any spelling that Beam takes, is that of the local one."""
    return runner is None or runner.lower() in ("direct", "directrunner")


def _parse(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield name and value of each option, be it given as ``--name value`` or ``--name=value``."""
    for word, following in pairwise((*words, "--")):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            separate = None if following.startswith("--") else following
            yield name, value if equals else separate


NO_BEAM_ARGUMENTS = BeamArguments()
"""Where nothing is said to Beam."""
