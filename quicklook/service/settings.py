"""What can be set for a site: the contents of a site file, with every default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from quicklook.io.badamps import split_words
from quicklook.service.calibrating.adopting import AdoptSettings, BuildSettings

YEAR_S = 366 * 86400.0


class WatchSettings(BaseModel):
    """How arrival is watched. Times in seconds, a year at most."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: Literal["auto", "inotify", "polling"] = Field("auto", description="auto: polling on network file systems, else inotify")
    settle_s: float = Field(0.25, ge=0, le=YEAR_S, description="a file is looked at when it has not changed for so long")
    patience_s: float = Field(20.0, gt=0, le=YEAR_S, description="a truncated file is refused when nothing was added to it for so long")
    rescan_s: float = Field(30.0, gt=0, le=YEAR_S, description="the tree is scanned again after so long")
    hangs_s: float = Field(20.0, gt=0, le=YEAR_S, description="a file system that has not answered for so long is said to hang; all else goes on")
    poll_s: float = Field(1.0, gt=0, le=YEAR_S, description="period of polling")
    companion_s: float = Field(5.0, ge=0, le=YEAR_S, description="companions are waited for so long, then the work goes on without them, degraded")
    gather_s: float = Field(5.0, ge=0, le=YEAR_S, description="where cameras have files of their own and none is expected by name: so long for more")
    unit_s: float = Field(600.0, gt=0, le=YEAR_S, description="cameras that have not come are waited for so long; work that waits its turn, for ever")


class WorkSettings(BaseModel):
    """How the work is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    executor: Literal["processes", "inline", "dask"] = Field(
        "processes", description="worker processes here, or in the daemon itself, or on the workers of a Dask scheduler"
    )
    address: str = Field("", description="dask: the scheduler, as in tcp://host:8786; its workers see the same folders")
    workers: int = Field(0, ge=0, description="number of worker processes; 0: one a core")
    threads: int = Field(1, ge=1, description="threads of each worker; workers x threads never exceeds the cores")
    deadline_s: float = Field(120.0, gt=0, description="a worker that takes longer for a camera is killed and replaced")
    step_deadline_s: float = Field(60.0, gt=0, description="so is one that takes longer for a single step or QA of it")
    memory_limit_mb: float = Field(
        2500.0, ge=0, description="a worker with more memory after a camera is renewed, with twice as much during one killed; 0: not watched"
    )
    calibrations_gb: float = Field(
        10.0, ge=0, description="room in the cache folder for calibrations kept ready for all worker processes, 240 MB a DESI camera; 0: none"
    )
    waiting_mb: float = Field(
        1500.0, ge=0, description="verdicts go before files: so much of a worker may be spectra whose files wait for other cameras; 0: none wait"
    )
    recycle_jobs: int = Field(0, ge=0, description="a worker is renewed after so many cameras; 0: never")
    attempts: int = Field(4, ge=1, description="so often is tried what fails for a reason that may pass: once, and three times more after 1, 5, 20 s")
    priorities: dict[str, int] = Field(
        {}, description="flavors that go before others, as in {science: 10, _default: 0}: higher numbers first, newest first among equals"
    )


class SessionSettings(BaseModel):
    """Wait mode: the tests that are expected. Without a session every exposure is processed by its flavor, and that is all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field("", description="session: a name or a file, relative to the site file; empty: none")
    start_expid: int | None = Field(None, ge=0, description="exposures with lower numbers are of an aborted sequence, and of no test")
    todo: tuple[str, ...] = Field((), description="sub-tasks switched by hand, as in BIAS01:prep=no")
    check_only: bool = Field(False, description="of every test only init and check are done")
    label: str = Field("", pattern=r"^[A-Za-z0-9_.-]*$", description="a word in the name of the log of the run")
    until_done: bool = Field(False, description="the daemon ends when all tests are over")
    fresh: bool = Field(False, description="begin a new run, though the last one of the session is not over; else that one goes on")
    write_found: bool = Field(True, description="exposure numbers that were found are written back into the session file")


class CommandSettings(BaseModel):
    """The command socket. Relative paths are relative to the site file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str = Field("auto", description="where commands are taken; auto: a socket in the output folder; empty: nowhere")
    keys: str = Field("", description="folder of keys, made by `quicklook keys new`: its commanders alone may give commands; needed off the loopback")
    token: str = Field("", description="without keys: file of the token, made where it is not there; default: command.token in the output folder")


class DiskSettings(BaseModel):
    """Room on the disk of the output folder, 1e9 bytes. On a small disk a tenth of it warns, and a fiftieth is kept free, where that is less."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    warn_gb: float = Field(10.0, ge=0, description="it is said, once, when less than so much is free")
    keep_gb: float = Field(1.0, ge=0, description="so much is kept free: products wait until there is more; verdicts are given all the same")
    look_s: float = Field(5.0, gt=0, description="it is looked so often, s")
    log_mb: float = Field(
        20.0, ge=0, le=1e6, description="the log of a run goes on in a new file after so much, 1e6 bytes, and four old ones are kept; 0: never"
    )


class HousekeepingSettings(BaseModel):
    """Housekeeping that the daemon watches beside the frames: sources, limits, and a store of samples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: str = Field("", description="configuration: a name in configs/hk, or a file; empty: none is watched")
    store: str = Field("", description="file of the samples; default: hk.sqlite in the output folder")
    every_s: float = Field(1.0, ge=0.1, le=60, description="sources are asked so often, s")
    wait_s: float = Field(2.0, ge=0, le=600, description="the verdict of an exposure waits so long for samples of its time; then it is given without")
    late_s: float = Field(600.0, ge=0, le=86400, description="samples that come so long after it make a new revision of it")


class WebSettings(BaseModel):
    """The live page. Relative paths are relative to the site file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(True, description="whether the daemon serves the page; the variable QUICKLOOK_WEB=off in its environment switches it off")
    host: str = Field("127.0.0.1", min_length=1, description="address; on any but one of this machine alone, reading needs the token, too")
    port: int = Field(8765, ge=0, le=65535, description="port, or the next one that is free; 0: any that is free")
    names: tuple[str, ...] = Field((), description="further names by which browsers may call it, as that of a proxy before it")
    token: str = Field("", description="file of the token for actions; default: the token of the command socket")
    read_token: str = Field("", description="file of a token with which one may read, and do nothing, as for a display on a wall; empty: none")
    keys: str = Field("", description="where the command socket has keys: folder of the keys of the page, one of its commanders")
    ds9: str = Field("ds9", description="the DS9 to which frames are sent: its title, or HOST:PORT")


class RetentionSettings(BaseModel):
    """How long events stay in the journal, days; 0: for ever."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    details_days: float = Field(30.0, ge=0, description="what steps, QAs, plots and files said; the files themselves stay")
    facts_days: float = Field(0.0, ge=0, description="verdicts, decisions, receipts, commands, failures")


def _default_sinks() -> dict[str, dict[str, Any]]:
    return {"files": {}, "metrics": {}, "render": {}, "reports": {}, "zmq": {}}


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
    session: SessionSettings = SessionSettings()
    disk: DiskSettings = DiskSettings()
    housekeeping: HousekeepingSettings = HousekeepingSettings()
    retention: RetentionSettings = RetentionSettings()
    web: WebSettings = WebSettings()
    sinks: dict[str, dict[str, Any]] = Field(
        default_factory=_default_sinks, description="where events go: sinks and their parameters"
    )
