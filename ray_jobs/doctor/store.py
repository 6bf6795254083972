"""Examination of a store and of a recipe: access, space, damage, models, data and plug-ins."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from catalog.store.database_file import CatalogState, catalog_state
from mlprune.counted import counted
from mlprune.errors import BadInputError, DamagedRecordError, PluginError, StoreError
from mlprune.hub import format_size
from mlprune.planning import Plan, build_plan, extend_plan, pending_jobs
from mlprune.planning.pending import ListedSizes
from mlprune.planning.resources.estimate import adopted_evaluations, needs_of
from mlprune.planning.resources.node_capacity import format_node, format_pool
from mlprune.recipe.loading import load_recipe
from mlprune.steps.job import Job
from mlprune.store.claims import CLOCK, is_abandoned
from mlprune.store.garbage import CLAIM_ALIVE_S, find_garbage
from mlprune.store.record_kinds import ARTEFACT_FOLDERS, RECORD_KINDS
from mlprune.store.retired import first_damaged, remake_command, retired_groups
from mlprune.store.store import Store
from mlprune.store.succession import QUARANTINE, n_quarantined
from ray_jobs.doctor.findings import Finding, missing, ok, warning
from ray_jobs.driver.capacity_checks import in_process_pool, local_ray_pool, require_room
from ray_jobs.driver.model_imports import ALLOW_IMPORT, import_requested, pending_imports, requested_imports
from ray_jobs.workers.node_resources import free_disk_bytes, local_node

SUBJECT = "store"
LEAST_FREE_BYTES = 5 * 2**30
"""Free space on the disk of a store below which there is a warning."""
MANY_RECORD_FILES = 20_000
"""Record files of a store from which a compaction helps."""
RECIPE_SUBJECT = "recipe"


def examine_store(uri: str) -> list[Finding]:
    """Examine a store; nothing in it is changed."""
    try:
        store = Store(uri)
        return [*_access_findings(store), *_content_findings(store)]
    except StoreError as err:
        return [missing(SUBJECT, str(err), str(err.context.get("next", "check --store")))]


def _access_findings(store: Store) -> Iterator[Finding]:
    try:
        store.require_writable()
        yield ok(SUBJECT, f"{store.uri} is writable" if store.is_local else f"{store.uri} answers")
    except StoreError as err:
        yield missing(SUBJECT, str(err), f"chmod -R u+w {store.uri}, or another --store")
    if store.local_root is not None:
        free = free_disk_bytes(store.local_root)
        text = f"{format_size(free)} free on its disk"
        help_ = f"mlprune store gc --store {store.uri}, or mlprune store gc --quota SIZE --store {store.uri}"
        yield ok(SUBJECT, text) if free >= LEAST_FREE_BYTES else warning(SUBJECT, text, help_)


@dataclass
class _Contents:
    """What the records of a store say."""

    n_records: int = 0
    damaged: list[str] = field(default_factory=list)
    """Records that cannot be read, and artefacts that are missing or have another size."""
    n_outdated: int = 0
    """Records whose numbers the catalog does not show any more."""


def _content_findings(store: Store) -> Iterator[Finding]:
    if not store.list("records"):
        yield ok(SUBJECT, "no records yet")
        return
    store.require_current_version()
    contents = _read(store)
    yield ok(SUBJECT, counted(contents.n_records, "record"))
    yield from _catalog_findings(catalog_state(store), store.uri)
    if contents.damaged:
        text = f"{counted(len(contents.damaged), 'damaged or missing file')}, such as {contents.damaged[0]}"
        yield missing(SUBJECT, text, f"mlprune check store --repair --store {store.uri}, then the recipe again")
    else:
        text = "all files exist with their sizes (check store also reads them, check store --deep computes again)"
        yield ok(SUBJECT, text)
    if contents.n_outdated:
        text = f"{counted(contents.n_outdated, 'record')} of earlier versions, which no table shows"
        yield warning(SUBJECT, text, f"mlprune run RECIPE --store {store.uri} computes them again without the model")
    if groups := retired_groups(store):
        yield ok(SUBJECT, f"{counted(len(groups), 'group')} of files retired; {remake_command(store.uri)}")
    yield from _leftover_findings(store)


def _read(store: Store) -> _Contents:
    """Read all records, and compare their artefacts with the sizes of the files."""
    contents, retired = _Contents(), retired_groups(store)
    sizes = ListedSizes(store)
    for kind, record_id in store.record_names():
        contents.n_records += 1
        try:
            record = store.peek_record(kind, record_id)
        except (DamagedRecordError, OSError):
            contents.damaged.append(f"records/{kind}/{record_id}.json")
            continue
        if record is None:
            continue
        contents.n_outdated += kind in RECORD_KINDS and record.step_version < RECORD_KINDS[kind].shown_since
        if (damaged := first_damaged(record, sizes.of(record), groups=retired)) is not None:
            contents.damaged.append(damaged)
    contents.damaged += [path for kind in store.compacted.kinds() for path in store.compacted.damaged(kind)]
    return contents


def _catalog_findings(state: CatalogState | None, uri: str) -> Iterator[Finding]:
    if state is None:
        return
    if not state.exists:
        yield ok(SUBJECT, "no catalog yet: the first query builds it")
    elif state.problem:
        yield warning(
            SUBJECT, f"the catalog cannot be read now: {state.problem}", f"mlprune store rebuild --store {uri}"
        )
    elif state.n_missing is None:
        yield warning(SUBJECT, "the catalog has the schema of another version", f"mlprune store rebuild --store {uri}")
    elif state.has_removed:
        text = "the catalog has records that are no longer in the store: the next query fills it again without them"
        help_ = f"the recipe again makes them: mlprune run RECIPE --store {uri}"
        yield warning(SUBJECT, text, help_)
    elif state.n_missing:
        text = f"the catalog lacks {counted(state.n_missing, 'record')}: the next query adds them"
        yield warning(SUBJECT, text, f"mlprune query runs --store {uri}")
    else:
        yield ok(SUBJECT, "the catalog has all records")


def _leftover_findings(store: Store) -> Iterator[Finding]:
    n_files, n_copies = len(store.list(QUARANTINE)), n_quarantined(store)
    if n_files:
        text = f"{counted(n_files, 'file')} in quarantine, {counted(n_copies, 'record')} among them"
        yield warning(
            SUBJECT, text, f"mlprune run RECIPE --store {store.uri}, then mlprune store gc --delete --store {store.uri}"
        )
    yield from _claim_findings(store)
    try:
        garbage = find_garbage(store)
    except StoreError:
        return  # damage is reported already
    if garbage.files:
        text = f"{counted(len(garbage.files), 'file')} that no record references, {format_size(garbage.n_bytes)}"
        yield warning(SUBJECT, text, f"mlprune store gc --delete --store {store.uri}")
    n_young = sum(file.path.partition("/")[0] in ARTEFACT_FOLDERS for file in garbage.young)
    if n_young:
        hours = garbage.min_age_s / 3600
        text = f"{counted(n_young, 'file')} of the last {hours:.0f} hours that no record references"
        yield ok(SUBJECT, f"{text}: a running job may need them; mlprune store gc --delete removes them later")
    files = sum(len(ids) for ids in store.list_records().record_files.values())
    if files >= MANY_RECORD_FILES:
        yield warning(SUBJECT, f"{files:,} record files", f"mlprune store compact --store {store.uri}")


def _claim_findings(store: Store) -> Iterator[Finding]:
    """Name claims of runs that have ended: other runs wait for the work of a claim until it is stale."""
    now = time.time()
    claims = [file for file in store.files("claims") if not file.path.startswith(CLOCK)]
    stale = [one for one in claims if now - one.modified_at >= CLAIM_ALIVE_S or is_abandoned(store, one.path)]
    if stale:
        text = f"{counted(len(stale), 'claim')} of runs that have ended, such as {stale[0].path}"
        yield warning(SUBJECT, text, f"mlprune store gc --delete --store {store.uri}; the next run resumes their work")
    if len(claims) > len(stale):
        yield ok(SUBJECT, f"in use: {counted(len(claims) - len(stale), 'claim')} of running jobs")


def examine_recipe(path: Path, *, store_uri: str, address: str, allowed_plugins: Sequence[Path] = ()) -> list[Finding]:
    """Examine a recipe as `mlprune plan` would plan it; nothing is written.

    Args:
        store_uri: the store of the run; it may not exist yet.
        address: `none` or `local`; for other addresses the resources of the nodes are not compared.
        allowed_plugins: files of plug-ins that the recipe may name.
    """
    try:
        recipe = load_recipe(path, allowed_plugins=allowed_plugins)
    except PluginError as err:
        return [
            missing(
                RECIPE_SUBJECT,
                str(err),
                f"mlprune check machine --recipe {path} --allow-plugins FILE, or pip install it",
            )
        ]
    except BadInputError as err:
        return [missing(RECIPE_SUBJECT, str(err), f"correct {path}")]
    findings = [
        ok(RECIPE_SUBJECT, f"{recipe.name}: {counted(len(recipe.variants), 'variant entry', 'variant entries')}")
    ]
    try:
        requested = requested_imports(recipe, store_uri=store_uri, address=address)
        if imports := pending_imports(requested):
            models = "; ".join(line for request in imports for line in request.describe())
            return [
                *findings,
                warning(RECIPE_SUBJECT, f"models to import: {models}", f"mlprune run {path} {ALLOW_IMPORT}"),
            ]
        plan = build_plan(import_requested(recipe, requested, is_allowed=False), [local_node()])
    except BadInputError as err:
        return [*findings, missing(RECIPE_SUBJECT, str(err), str(err.context.get("next", f"correct {path}")))]
    text = f"models, data and plug-ins can be read: {counted(len(plan.jobs), 'job')}"
    return [*findings, ok(RECIPE_SUBJECT, text), *_resource_findings(plan, store_uri, address)]


def _resource_findings(plan: Plan, store_uri: str, address: str) -> Iterator[Finding]:
    """Judge memory, accelerators and disk for the pending jobs."""
    store = Store(store_uri)
    extended = extend_plan(plan, store)
    pending: list[Job] = pending_jobs(extended.jobs, store)
    if not pending:
        yield ok(RECIPE_SUBJECT, "nothing to do: all jobs are done")
        return
    needs = needs_of(extended, pending, adopted=adopted_evaluations(pending, store))
    yield ok(RECIPE_SUBJECT, f"{counted(len(pending), 'job')} to do on {needs.model.device} in {needs.model.dtype}")
    try:
        require_room(needs, store)
        yield ok(RECIPE_SUBJECT, f"disk: {needs.disk_gib:.2f} GiB for results")
    except BadInputError as err:
        yield missing(
            RECIPE_SUBJECT, str(err), f"mlprune store gc --quota SIZE --store {store_uri}, or another --store"
        )
    if address not in ("none", "local"):
        yield ok(RECIPE_SUBJECT, f"mlprune plan --address {address} compares its needs with the nodes of the cluster")
        return
    try:
        pool = in_process_pool(needs) if address == "none" else local_ray_pool(needs)
        yield ok(RECIPE_SUBJECT, f"memory: {format_pool(pool)} on {format_node(local_node())}")
    except BadInputError as err:
        yield missing(
            RECIPE_SUBJECT, str(err), "change the recipe as the message says, or --address of a larger machine"
        )
