"""The options that say what is asked for: shared by plan, run and patches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cloudfree.config import RunSettings, build, merge, read_toml

F = TypeVar("F", bound=Callable[..., Any])


def request_options(command: F) -> F:
    """Give a command the options that ``read_request`` reads."""
    options = [
        click.option(
            "--aoi",
            type=click.Path(path_type=Path),
            required=True,
            help="GeoJSON file with the area, in longitude and latitude.",
        ),
        click.option(
            "--date",
            required=True,
            help="YYYY-MM-DD: the datatake near it that shows most; or A/B: every one between.",
        ),
        click.option(
            "--stac",
            help="Address of a STAC API, or a local ItemCollection or catalog file, to be asked "
            "instead of a provider's own.",
        ),
        click.option(
            "--provider",
            help="Of optical scenes: planetary-computer (default), earth-search, copernicus, local "
            "(default with --stac), or a TOML file like these.",
        ),
        click.option("--radar-provider", help="Of radar scenes, likewise."),
        click.option(
            "--max-scene-cloud",
            type=float,
            help="Leave out scenes with more cloud than this, in percent, by their metadata.",
        ),
        click.option("--model", help="Name of a built-in model or folder of a bundle."),
        click.option("--bands", help="Optical bands of the product, such as B02,B03,B04,B08."),
        click.option("--crs", help="utm (default) or a projected CRS in metres."),
        click.option("--resolution", type=float, help="Side of a pixel in metres."),
        click.option("--chunk-px", type=int, help="Side of a chunk in pixels."),
        click.option(
            "--optical-days", type=float, help="How far from the date the optical may lie."
        ),
        click.option("--sar-days", type=float, help="How far from the optical the radar may lie."),
        click.option(
            "--mask",
            help="auto (default: the scene classification, a detector where there is none), "
            "detector, or a file: a raster that is not 0 where cloud hides the ground, or GeoJSON.",
        ),
        click.option(
            "--min-seen",
            type=float,
            help="Share of the area that a datatake must show; 0 takes any.",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            help="TOML with settings, such as pipelines/run.toml.",
        ),
        click.option("--scheduler", help="Address of a Dask scheduler."),
        click.option("--workers", type=int, help="Local worker processes."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def read_request(options: dict[str, Any]) -> Any:
    """Return the Request behind the options: flags over --config over defaults."""
    from cloudfree.plan import Request

    config = options["config"]
    bands = options["bands"]
    tables = merge(
        read_toml(config) if config else {},
        {
            "grid": {
                "bands": bands and [name.strip() for name in bands.split(",")],
                "crs": options["crs"],
                "resolution_m": options["resolution"],
                "chunk_px": options["chunk_px"],
            },
            "catalog": {
                "provider": options["provider"],
                "radar_provider": options["radar_provider"],
                "max_cloud_percent": options["max_scene_cloud"],
            },
            "scenes": {
                "optical_days": options["optical_days"],
                "sar_days": options["sar_days"],
                "min_seen": options["min_seen"],
            },
            "masks": {"source": options["mask"]},
            "restoration": {"model": options["model"]},
            "engine": {"scheduler": options["scheduler"], "workers": options["workers"]},
        },
    )
    settings = build(RunSettings, tables, str(config) if config else "options")
    return Request(
        aoi=options["aoi"], date=options["date"], stac=options["stac"], settings=settings
    )
