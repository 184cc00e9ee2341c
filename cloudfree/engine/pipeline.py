"""The walk as a whole: plan, measure, restore chunk by chunk, finish. Resumes what it finds."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from distributed import Client, KilledWorker

from cloudfree.check.figures import Check
from cloudfree.check.selfcheck import check_itself
from cloudfree.cluster import (
    GPU,
    WORKERS_DIED,
    connect,
    count_workers,
    read_result,
    run_jobs,
    share,
)
from cloudfree.cluster.kubernetes import kubernetes_cluster
from cloudfree.core.errors import CloudfreeError, OutputError, SettingsError, StoreError
from cloudfree.core.progress import Progress, Silent
from cloudfree.core.timing import Stopwatch
from cloudfree.engine.finish import finish
from cloudfree.engine.fits import fit_other_days
from cloudfree.engine.jobs import ChunkJob, Submit
from cloudfree.engine.prepare import (
    begin,
    check_room,
    describe_grid,
    describe_request,
    make_facts,
    measure_pairs,
    read_items,
    resume_facts,
    settle,
)
from cloudfree.pixels.remote import Fetcher
from cloudfree.planning.plan import Plan, Request, make_plan
from cloudfree.planning.screen import passed_over, screen
from cloudfree.product.printout import run_text
from cloudfree.storage import lease, ledger
from cloudfree.storage.lease import Lease
from cloudfree.storage.ledger import Done, Ledger, Totals
from cloudfree.storage.outputs import Storage
from cloudfree.walk.run_facts import RunFacts

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Outcome:
    """What a run came to; prints as lines of text."""

    storage: Storage
    """The output."""
    summary: dict[str, Any]
    """What run.json says; empty where chunks failed or the run was interrupted."""
    failed: dict[str, str]
    """Chunk -> why it failed."""
    interrupted: bool
    """Whether the run was told to stop before its end."""
    chunks_done: int
    """Chunks of this product that are finished, now and before."""
    chunks_resumed: int
    """Of these, finished before this run began."""

    def __repr__(self) -> str:
        if self.summary:
            return run_text(self.summary, self.storage, self.chunks_resumed)
        why = "told to stop" if self.interrupted else f"{len(self.failed)} chunks failed"
        return f"{why}; {self.chunks_done} are done. The same call resumes {self.storage.address}"


def run(
    request: Request,
    storage: Storage,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Make the product in ``storage``, or finish the one that was begun there.

    Nothing is written before the request is known to be right. Once ``stop`` is set, what is in
    flight is finished and no more is begun. Raises a RequestError of one line where the request is
    wrong, StoreError where the output fails, ClusterError where the scheduler is gone. Chunks that
    fail do not stop the others, up to ``max_failed``; they are named in the outcome. Whatever
    happened, the same call goes on where this one ended.
    """
    progress = progress or Silent()
    stop = stop or threading.Event()
    clock = Stopwatch()
    ledger.refuse_strangers(storage)
    lease.refuse_busy(storage)
    asked = describe_request(request)
    state = None if overwrite else Ledger(storage=storage).read_state()
    items, left_out = None, []
    if state is not None:
        ledger.refuse_other(storage.address, state["request"], asked)
        items, left_out = read_items(storage, state), state["left_out"]
        grid_settings = replace(request.settings.grid, chunk_px=state["chunk_px"])
        request = replace(request, settings=replace(request.settings, grid=grid_settings))
    with clock.row("plan"):
        plan = make_plan(request, items, passed_over=passed_over(left_out))
    if state is not None:
        grid = describe_grid(plan)
        ledger.refuse_other(storage.address, {**grid, **state}, grid)
    with _workers(plan) as (client, model):
        with clock.row("radiometry.measure_scene"):
            fetcher = Fetcher(plan.settings.cube, plan.signer)
            plan = settle(plan, state, fetcher)
        if state is None:
            with clock.row("screen"):
                plan, left_out, retries = screen(request, plan, client, progress)
            check_room(plan, storage)
            with clock.row("radiometry.measure_scene"):
                statistics, asked_again = measure_pairs(plan, client, model, progress)
                retries.update(asked_again)
                retries.update(fetcher.retries)
            with clock.row("other_days.fit_scene"):
                fits, asked_again = fit_other_days(plan, client, progress)
                fits = fits.judge(statistics)
                retries.update(asked_again)
            if stop.is_set():
                return _nothing_begun(storage)
            with clock.row("selfcheck"):
                unmarked = make_facts(plan, statistics, fits.fitted, storage, model)
                check, asked_again = check_itself(unmarked, client, progress)
                retries.update(asked_again)
            _refuse_uncalibrated(plan, check)
            if stop.is_set():
                return _nothing_begun(storage)
        with lease.hold(storage) as held:
            _refuse_changed(storage, state, overwrite=overwrite)
            if state is None:
                state = begin(plan, asked, statistics, fits, retries, left_out, check, storage)
            facts = resume_facts(plan, state, storage, model)
            return _work_off(plan, facts, state, client, held, clock, progress, stop)


def _nothing_begun(storage: Storage) -> Outcome:
    """Return what comes of a run that is told to stop before anything is written."""
    return Outcome(
        storage=storage, summary={}, failed={}, interrupted=True, chunks_done=0, chunks_resumed=0
    )


def _refuse_uncalibrated(plan: Plan, check: Check | None) -> None:
    """Raise SettingsError where an uncertainty is asked for that nothing can be said of."""
    if plan.settings.uncertainty.write and not (check and "reconstructed" in check.calibrations):
        why = "" if check is None else f": {check.figures['why_not']}"
        raise SettingsError(
            f"the uncertainty cannot be calibrated{why}. Leave out --uncertainty, or choose "
            "another date or a wider area"
        )


def _refuse_changed(storage: Storage, state: dict[str, Any] | None, *, overwrite: bool) -> None:
    """Raise OutputError where another run came and went before this one held the output."""
    now = None if overwrite else Ledger(storage=storage).read_state()
    if now != state:
        raise OutputError(
            f"another run wrote to --out {storage.address} in the meantime. Give the same command "
            "again to resume what is there"
        )


def _work_off(
    plan: Plan,
    facts: RunFacts,
    state: dict[str, Any],
    client: Client,
    held: Lease,
    clock: Stopwatch,
    progress: Progress,
    stop: threading.Event,
) -> Outcome:
    """Do what is left of a run that has begun, and finish it."""
    book = Ledger(storage=facts.storage)
    book.forget_failures()
    done, totals = book.read_done(facts.key, (len(facts.steps), *facts.plan.cuts))
    resumed = totals.chunks
    with clock.row("chunks"):
        failed = _restore_all(plan, facts, client, done, totals, held, progress, stop)
    held.check()
    summary = {}
    if not failed and not stop.is_set():
        summary = finish(plan, facts, state, totals, client, clock, progress)
    return Outcome(
        storage=facts.storage,
        summary=summary,
        failed=failed,
        interrupted=stop.is_set() and not summary,
        chunks_done=totals.chunks,
        chunks_resumed=resumed,
    )


@contextmanager
def _workers(plan: Plan) -> Iterator[tuple[Client, str]]:
    """Yield a client whose workers share the model, and the model's name."""
    engine = plan.settings.engine
    on_gpu = engine.gpu != "off"
    with ExitStack() as stack:
        if engine.kubernetes:
            address = stack.enter_context(kubernetes_cluster(plan.settings.kubernetes))
            engine = replace(engine, kubernetes=False, scheduler=address)
        local = not engine.scheduler
        gpus = plan.bundle.count_accelerators() if on_gpu and local else 0
        client = stack.enter_context(connect(engine, gpus=gpus))
        workers = count_workers(client)
        if engine.gpu == "require" and not workers.gpus:
            raise SettingsError(
                f"gpu is require, and none of {workers.count} workers has the Dask resource {GPU}; "
                f"start one with: dask worker {engine.scheduler or 'SCHEDULER'} --resources GPU=1"
            )
        if not workers.count:
            logger.warning("the scheduler has no worker yet; waiting for one")
        name = f"cloudfree-model-{uuid.uuid4().hex}"
        with share(client, name, plan.bundle.load(), on_gpu=on_gpu):
            yield client, name


def _restore_all(
    plan: Plan,
    facts: RunFacts,
    client: Client,
    done: Done,
    totals: Totals,
    held: Lease,
    progress: Progress,
    stop: threading.Event,
) -> dict[str, str]:
    """Do every chunk that has no mark, a bounded number in flight; return those that failed.

    Adds the records of the others to ``totals``.
    """
    engine, n_steps = facts.settings.engine, len(facts.steps)
    book = Ledger(storage=facts.storage)
    total = sum(chunk.pixels for chunk in facts.plan.chunks()) * n_steps
    failed: dict[str, str] = {}
    name = f"cloudfree-facts-{uuid.uuid4().hex}"
    with (
        progress.track("restore", total, "px") as advance,
        share(client, name, facts, job_bytes=plan.job_bytes),
    ):

        def missing() -> Iterator[ChunkJob]:
            for step in range(n_steps):
                for chunk in facts.plan.chunks():
                    job = ChunkJob(step=step, chunk=chunk)
                    if (step, chunk.row, chunk.col) in done:
                        advance(chunk.pixels)
                    else:
                        yield job

        submit = Submit(client=client, facts=name, gpu=engine.gpu != "off")
        results = run_jobs(
            client,
            missing(),
            submit,
            job_bytes=plan.job_bytes,
            stop=stop,
            drain_s=engine.drain_s,
        )
        for job, future in results:
            held.check()
            error = future.exception()
            if isinstance(error, StoreError):
                raise error
            if error is not None:
                failed[job.name] = _reason(error)
                logger.error("chunk %s failed: %s", job.name, failed[job.name])
                book.fail(job.name, failed[job.name])
                if len(failed) > engine.max_failed:
                    logger.error("more than %d chunks failed; giving up", engine.max_failed)
                    break
            else:
                totals.add(asdict(read_result(client, future)))
            advance(job.chunk.pixels)
    return failed


def _reason(error: BaseException) -> str:
    if isinstance(error, KilledWorker):
        return WORKERS_DIED
    text = " ".join(str(error).split())
    return text if isinstance(error, CloudfreeError) else f"{type(error).__name__}: {text}"
