"""What can be set for a site: the contents of a site file, with every default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from quicklook.io.badamps import split_words
from quicklook.service.adopting import AdoptSettings, BuildSettings


class WatchSettings(BaseModel):
    """How arrival is watched. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["auto", "inotify", "polling"] = Field("auto", description="auto: polling on network file systems, else inotify")
    settle_s: float = Field(0.25, ge=0, description="a file is looked at when it has not changed for so long")
    patience_s: float = Field(20.0, gt=0, description="a truncated file is refused when nothing was added to it for so long")
    rescan_s: float = Field(30.0, gt=0, description="the tree is scanned again after so long")
    poll_s: float = Field(1.0, gt=0, description="period of polling")
    companion_s: float = Field(5.0, ge=0, description="companions are waited for so long; then the work goes on without them, marked as degraded")
    gather_s: float = Field(5.0, ge=0, description="where cameras come in files of their own and none is expected by name: wait so long for more")
    unit_s: float = Field(600.0, gt=0, description="an exposure gets its verdict after so long, even if cameras have none")


class WorkSettings(BaseModel):
    """How the work is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    executor: Literal["processes", "inline"] = Field("processes", description="worker processes, or in the daemon itself")
    workers: int = Field(0, ge=0, description="number of worker processes; 0: one a core")
    threads: int = Field(1, ge=1, description="threads of each worker; workers x threads never exceeds the cores")
    deadline_s: float = Field(120.0, gt=0, description="a worker that takes longer for a camera is killed and replaced")
    attempts: int = Field(3, ge=1, description="so often is tried what fails for a reason that may pass")


class CommandSettings(BaseModel):
    """The command socket. Relative paths are relative to the site file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str = Field("auto", description="where commands are taken; auto: a socket in the output folder; empty: nowhere")
    keys: str = Field("", description="folder of keys, made by `quicklook keys new`: its commanders alone may give commands; needed off the loopback")
    token: str = Field("", description="without keys: file of the token, made where it is not there; default: command.token in the output folder")


def _default_sinks() -> dict[str, dict[str, Any]]:
    return {"files": {}, "render": {}, "zmq": {}}


class SiteFile(BaseModel):
    """The contents of a site file. Relative paths are relative to the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instrument: str = Field(description="name or path of an instrument file")
    cameras: tuple[str, ...] | None = Field(None, description="cameras that every exposure must have; default: as the instrument says")
    badamps: Annotated[tuple[str, ...], BeforeValidator(split_words)] = Field(
        (), description="amplifiers known to be bad beside those of the instrument, as in b7D,z8A: masked, and never judged"
    )
    raw: str = Field("", description="folder in which exposures appear")
    calib: str = Field("", description="folder of calibrations, with calib.yaml or a DESI tree")
    out: str = Field("quicklook-out", description="folder for everything that is written")
    chains: dict[str, str] = Field(default_factory=dict, description="chain (name or path) by flavor; _default for all others")
    limits: tuple[str, ...] = Field((), description="limits files (names or paths); default: `default` and the one of the instrument's name")
    decisions: str = Field("default", description="rules by which it is said what to do after an exposure (name or path); empty: nothing is said")
    goals: dict[str, float] = Field({}, description="what every exposure is to reach, as in {efftime: 900}; the header of an exposure goes before")
    params: dict[str, dict[str, Any]] = Field(default_factory=dict, description="parameters of steps and QAs, laid over those of the chains")
    products: tuple[str, ...] = Field((), description="kinds of products written beside those of the chain (preproc, ...)")
    plots: bool = Field(True, description="whether plots are made")
    tag: str = Field("live", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="name of this processing")
    adopt: AdoptSettings = Field(AdoptSettings(), description="calibrations made by the daemon that are used from then on; default: none")
    build: dict[str, BuildSettings] = Field({}, description="calibrations that the daemon builds from groups, by builder, as in {bias: {count: 5}}")
    watch: WatchSettings = WatchSettings()
    work: WorkSettings = WorkSettings()
    commands: CommandSettings = CommandSettings()
    sinks: dict[str, dict[str, Any]] = Field(
        default_factory=_default_sinks, description="where events go: sinks and their parameters"
    )
