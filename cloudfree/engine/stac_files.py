"""Row 14 of the walk: the small files beside the COGs, and the STAC that names all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cloudfree.core import source
from cloudfree.engine.step_pictures import stretch
from cloudfree.planning.plan import Plan
from cloudfree.product.assets import CogAsset, FileAsset, Limits, name_file
from cloudfree.product.band_view import draw_band_view
from cloudfree.product.cog import NAMES_SUFFIX, Cog
from cloudfree.product.collection import build_collection
from cloudfree.product.item import Product, StepFiles, name_view
from cloudfree.product.layers import Layer
from cloudfree.product.provenance import ITEMS, RUN, ReferenceShare
from cloudfree.product.report import StepPictures, draw_thumbnail
from cloudfree.scenes.scene import Step
from cloudfree.storage.outputs import checksum
from cloudfree.walk.run_facts import RunFacts

PREVIEW, REPORT = "preview.png", "report.html"
_FORMER_ITEM = "item.json"
"""Of the whole run, by a cloudfree that had no Item a step; the files that it names are gone."""


def write_stac(
    plan: Plan,
    facts: RunFacts,
    state: Mapping[str, Any],
    pictures: Sequence[StepPictures],
    shares: Sequence[Sequence[ReferenceShare]],
    cogs: Mapping[str, Cog],
    contents: Mapping[str, bytes],
) -> None:
    """Write what lies beside the COGs of each step, the Items, and the Collection last.

    ``state`` is the ledger's, ``shares`` say what each step owes to other days, ``cogs`` are those
    of all steps by name, ``contents`` what the preview, the report and run.json hold or will hold.
    """
    steps = [
        _write_step(plan, facts, step, shown, of_step, cogs)
        for step, shown, of_step in zip(plan.steps, pictures, shares, strict=True)
    ]
    contents = {**contents, ITEMS: facts.storage.read(ITEMS) or b""}
    files = [
        FileAsset(
            key=key,
            name=name,
            title=title,
            media_type=media_type,
            role=role,
            file=checksum(contents[name]),
        )
        for key, name, title, media_type, role in (
            (
                "preview",
                PREVIEW,
                "Scene, product and source of each step",
                "image/png",
                "thumbnail",
            ),
            ("report", REPORT, "The report", "text/html", "overview"),
            ("run", RUN, "What the run was asked, did and found", "application/json", "metadata"),
            ("scenes", ITEMS, "The scenes' own items", "application/geo+json", "metadata"),
        )
    ]
    for name, content in build_collection(describe_product(plan, state), steps, files).items():
        facts.storage.write_json(name, content)
    facts.storage.remove(_FORMER_ITEM)


def describe_product(plan: Plan, state: Mapping[str, Any]) -> Product:
    """Return what STAC says of a plan's product; ``state`` is the ledger's."""
    return Product(
        identifier=f"cloudfree-{state['key'][:12]}",
        area=plan.aoi,
        grid=plan.grid,
        layers=plan.layers,
        bands=plan.settings.grid.bands,
        contract=plan.bundle.contract,
        found=plan.items,
        choices=state.get("choices", []),
        check=state["check"],
    )


def _write_step(
    plan: Plan,
    facts: RunFacts,
    step: Step,
    pictures: StepPictures,
    shares: Sequence[ReferenceShare],
    cogs: Mapping[str, Cog],
) -> StepFiles:
    """Write the small files of a step, and return what STAC says of all of its files."""
    name, assets, others, views = pictures.name, [], [], {}
    for layer in (one for one in plan.layers if one.exported):
        cog_name = name_file(name, layer.name, ".tif")
        cog = cogs[cog_name]
        shown = _limits(facts, step, layer, cog)
        assets.append(CogAsset(name=cog_name, layer=layer, shown=shown, cog=cog))
        if cog.names is not None:
            others.append(
                FileAsset(
                    key=f"{layer.name}_names",
                    name=cog_name + NAMES_SUFFIX,
                    title=f"Names of the classes of {layer.name}, for GDAL and QGIS",
                    media_type="application/xml",
                    role="metadata",
                    file=cog.names,
                )
            )
        for index, band in enumerate(plan.settings.grid.bands if layer.has_bands else ()):
            view = draw_band_view(plan.grid, layer, cog, name=cog_name, index=index, band=band)
            facts.storage.write(name_view(name, band), view)
            views[band] = checksum(view)
    thumbnail = draw_thumbnail(pictures)
    preview = FileAsset(
        key="preview",
        name=name_file(name, "preview", ".png"),
        title="The product, small",
        media_type="image/png",
        role="thumbnail",
        file=checksum(thumbnail),
    )
    facts.storage.write(preview.name, thumbnail)
    return StepFiles(
        step=step,
        name=name,
        references=tuple(one for one in shares if one.share),
        pixels={word: int(pictures.counts.pixels[code]) for word, code in source.COUNTED.items()},
        cogs=tuple(assets),
        views=views,
        others=(preview, *others),
    )


def _limits(facts: RunFacts, step: Step, layer: Layer, cog: Cog) -> Limits:
    """Return which stored numbers of a layer to show as black and white."""
    if layer.has_bands:
        return stretch(facts, step)
    found = [one for one in cog.statistics if one is not None]
    most = max((float(max(-one.minimum, one.maximum)) for one in found), default=1.0)
    return (-most if layer.diverging else 0.0), most
