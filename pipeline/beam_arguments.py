"""Parse the arguments for Apache Beam once, without importing Beam."""

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
"""Beam's names of the option for the container image of workers."""


@dataclass(frozen=True, slots=True)
class BeamArguments:
    """The Apache Beam options of the user.

    Attributes:
        arguments: The arguments as Beam takes them.
        options: Name, with dashes, and value of each option in `arguments`, in order; the value is None if it has none.
    """

    arguments: tuple[str, ...] = ()
    options: tuple[tuple[str, str | None], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(_parse(self.arguments)))

    def pipeline_options(self) -> PipelineOptions:
        """Return the arguments as Beam's own options; they are passed to Beam only here."""
        from apache_beam.options.pipeline_options import PipelineOptions

        return PipelineOptions(list(self.arguments))

    def after(self, defaults: Iterable[str]) -> BeamArguments:
        """Return these arguments after defaults, which they override."""
        return BeamArguments((*defaults, *self.arguments))

    def with_processes(self, number: int) -> BeamArguments:
        """Return these arguments with a number of worker processes for the local runner."""
        return BeamArguments((*self.arguments, f"--direct_num_workers={number}"))

    def values(self, *names: str) -> list[str]:
        """Return the values of an option by its names, in order; an empty string where it has no value."""
        return [value or "" for name, value in self.options if name in names]

    def last(self, *names: str) -> str | None:
        """Return the last value of an option, which is the effective one; None if it is not given."""
        return next(reversed(self.values(*names)), None)

    def has(self, *names: str) -> bool:
        """Return whether any of the options is given."""
        return bool(self.values(*names))

    @property
    def runner(self) -> str | None:
        """The runner, as the user spells it; None if none is named."""
        return self.last("--runner")

    @property
    def is_direct(self) -> bool:
        """Whether the runner is the local one."""
        return is_direct(self.runner)

    @property
    def is_dataflow(self) -> bool:
        """Whether the runner is Google Cloud Dataflow."""
        return self._runner_class in ("dataflow", "dataflowrunner")

    @property
    def is_dask(self) -> bool:
        """Whether the runner is Dask."""
        return self._runner_class in ("dask", "daskrunner")

    @property
    def _runner_class(self) -> str:
        """The name of the runner in lower case, without its module."""
        return (self.runner or "").rpartition(".")[2].lower()

    @property
    def loops_back(self) -> bool:
        """Whether workers of a remote runner are processes on this machine."""
        return "LOOPBACK" in self.values("--environment_type")

    @property
    def service_is_here(self) -> bool:
        """Whether the Dataflow service itself runs on this machine, as in tests."""
        return urlsplit(self.last("--dataflow_endpoint") or "").hostname == "localhost"

    @property
    def project(self) -> str:
        """Google Cloud project to bill; empty if none is given."""
        return self.last("--project") or ""

    @property
    def region(self) -> str:
        """Google Cloud region of the workers; empty if none is given."""
        return self.last("--region") or ""

    @property
    def temp_location(self) -> str:
        """Folder of Dataflow's temporary files; empty if none is given."""
        return self.last("--temp_location") or ""

    @property
    def staging_location(self) -> str:
        """Folder of packages that Dataflow workers install; empty if none is given."""
        return self.last("--staging_location") or ""

    @property
    def has_image(self) -> bool:
        """Whether a container image for workers is given."""
        return self.has(*IMAGE)

    @property
    def has_setup_file(self) -> bool:
        """Whether a package for workers to install is given."""
        return self.has("--setup_file")

    @property
    def brings_packages(self) -> bool:
        """Whether an image or packages are given, which may contain GPU libraries."""
        return any(self.values(*IMAGE, "--setup_file", "--requirements_file"))

    @property
    def machine_type(self) -> str | None:
        """The machine type of workers; None if none is given."""
        return self.last("--machine_type", "--worker_machine_type")

    @property
    def experiments(self) -> list[str]:
        """The requested experiments of Beam and Dataflow."""
        return self.values("--experiments", "--experiment")

    @property
    def service_options(self) -> list[str]:
        """The requested options of the Dataflow service, including experiments."""
        return [*self.values("--dataflow_service_options"), *self.experiments]

    @property
    def is_flexible(self) -> bool:
        """Whether Dataflow may choose when and on which machines the job runs (FlexRS)."""
        return self.has("--flexrs_goal")

    @property
    def needs_login(self) -> bool:
        """Whether requests to Google Cloud need credentials."""
        return not self.has("--no_auth")

    @property
    def names_processes(self) -> bool:
        """Whether the number or mode of the local runner's workers is given."""
        return self.has("--direct_num_workers", "--direct_running_mode")

    @property
    def processes(self) -> int:
        """The number of processes that call the network if the run is local."""
        text = "1" if (number := self.last("--direct_num_workers")) is None else number
        if not text.isdecimal() or "multi_threading" in self.values("--direct_running_mode"):
            return 1
        return int(text) or os.cpu_count() or 1


def is_direct(runner: str | None) -> bool:
    """Return whether a runner name, in any spelling that Beam accepts, is the local runner."""
    return runner is None or runner.lower() in ("direct", "directrunner")


def _parse(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the name and value of each option, given as ``--name value`` or ``--name=value``."""
    for word, following in pairwise((*arguments, "--")):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            separate = None if following.startswith("--") else following
            yield name, value if equals else separate


NO_BEAM_ARGUMENTS = BeamArguments()
"""No Beam arguments."""
