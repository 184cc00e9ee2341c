"""The options that say what is asked for: shared by plan, run and patches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cloudfree.core.config import RunSettings
from cloudfree.core.tables import build, merge, read_toml

ENGINE = (
    "scheduler",
    "kubernetes",
    "tls_ca",
    "tls_cert",
    "tls_key",
    "workers",
    "gpu",
    "dashboard",
    "max_failed",
)
"""Options of ``engine_options``; named like the settings they set."""

_SECTIONS = {
    "Area, date and scenes": (
        "aoi", "date", "stac", "provider", "radar_provider", "max_scene_cloud", "optical_days",
        "sar_days", "reference_days", "mask", "min_seen",
    ),
    "Product": ("model", "bands", "crs", "resolution", "out", "overwrite"),
    "Work": ("chunk_px", *ENGINE),
}  # fmt: skip
"""Headings in ``--help`` -> options under them; all others stand under Options."""


_SETTINGS = {
    "bands": ("grid", "bands"),
    "crs": ("grid", "crs"),
    "resolution": ("grid", "resolution_m"),
    "chunk_px": ("grid", "chunk_px"),
    "provider": ("catalog", "provider"),
    "radar_provider": ("catalog", "radar_provider"),
    "max_scene_cloud": ("catalog", "max_cloud_percent"),
    "optical_days": ("scenes", "optical_days"),
    "sar_days": ("scenes", "sar_days"),
    "reference_days": ("references", "days"),
    "min_seen": ("scenes", "min_seen"),
    "mask": ("masks", "source"),
    "model": ("restoration", "model"),
    "max_uncertainty": ("uncertainty", "max"),
    **{name: ("engine", name) for name in ENGINE},
}
"""Option -> section and key of the setting that it sets, whose default ``--help`` shows."""


class Sectioned(click.Command):
    """A command whose many options stand under headings, with the defaults of their settings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, heading by heading."""
        heading = {name: title for title, names in _SECTIONS.items() for name in names}
        rows: dict[str, list[tuple[str, str]]] = {title: [] for title in (*_SECTIONS, "Options")}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                name = parameter.name or ""
                rows[heading.get(name, "Options")].append((row[0], row[1] + _default(name)))
        for title, some in rows.items():
            if some:
                with formatter.section(title):
                    formatter.write_dl(some)


def _default(option: str) -> str:
    """Return what ``--help`` says of a setting's default; nothing where it is empty or off."""
    if option not in _SETTINGS:
        return ""
    section, key = _SETTINGS[option]
    value = getattr(getattr(RunSettings(), section), key)
    if not value:
        return ""
    shown = ",".join(value) if isinstance(value, tuple) else value
    return f"  [default: {shown:g}]" if isinstance(shown, float) else f"  [default: {shown}]"


F = TypeVar("F", bound=Callable[..., Any])


def request_options(command: F) -> F:
    """Give a command the options that ``read_request`` reads."""
    options = [
        click.option(
            "--aoi",
            type=click.Path(path_type=Path),
            required=True,
            help="File with the area's polygons: GeoJSON, GeoPackage, Shapefile (zipped too), KML, "
            "FlatGeobuf, GML, WKT; in its CRS, or longitude and latitude where it names none. One "
            "layer of several: 'FILE|layername=LAYER'.",
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
        click.option(
            "--model",
            help="A built-in model or the folder of a bundle; auto takes what serves.",
        ),
        click.option("--bands", help="Optical bands of the product, such as B04,B03,B02,B08."),
        click.option(
            "--crs",
            help="utm, equal-area (for areas too wide for a zone), or a projected CRS in metres.",
        ),
        click.option("--resolution", type=float, help="Side of a pixel in metres."),
        click.option("--chunk-px", type=int, help="Side of a chunk in pixels."),
        click.option(
            "--optical-days", type=float, help="Days that the optical scene may lie from the date."
        ),
        click.option(
            "--sar-days", type=float, help="Days between the radar and the optical scene, at most."
        ),
        click.option(
            "--reference-days",
            type=float,
            help="Days before and after a scene within which others show what is hidden in it; 0 "
            "for none.",
        ),
        click.option(
            "--mask",
            help="auto (the scene classification, a detector where there is none), detector, or a "
            "file: a raster of 0 and another value where cloud hides the ground, or polygons in a "
            "file like that of --aoi.",
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
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def engine_options(command: F) -> F:
    """Give a command the options that say where the work is done."""
    options = [
        click.option("--scheduler", help="Address of a Dask scheduler, tcp:// or tls://."),
        click.option(
            "--kubernetes",
            is_flag=True,
            default=None,
            help="Create a Dask cluster on Kubernetes for the run, and remove it after; sizes and "
            "images in --config, section [kubernetes].",
        ),
        click.option("--tls-ca", help="Its certificate authority's file, where it asks for TLS."),
        click.option("--tls-cert", help="File with the certificate to show to it."),
        click.option("--tls-key", help="File with that certificate's key."),
        click.option("--workers", type=int, help="Local worker processes; 1 stays in this one."),
        click.option(
            "--gpu",
            type=click.Choice(["auto", "require", "off"]),
            help="Whether workers with the Dask resource GPU restore: where there are any, or "
            "else the run is refused, or never.",
        ),
        click.option(
            "--dashboard",
            help="Where a local scheduler shows its dashboard and metrics, such as "
            "127.0.0.1:8787; nowhere without it.",
        ),
        click.option(
            "--max-failed", type=int, help="Give up once more chunks than this have failed."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def product_options(command: F) -> F:
    """Give a command the options that say what a product holds beside its pixels."""
    options = [
        click.option(
            "--no-check",
            is_flag=True,
            help="Leave out the self-check, which hides seen pixels, restores them and says how "
            "wrong the result is.",
        ),
        click.option(
            "--uncertainty",
            is_flag=True,
            help="Write a layer with the likely error of each made pixel; restoring takes about "
            "four times as long.",
        ),
        click.option(
            "--max-uncertainty",
            type=float,
            help="Leave made pixels hidden that are likely to be wrong by more than this, in "
            "reflectance (such as 0.05); implies --uncertainty.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def read_request(options: dict[str, Any]) -> Any:
    """Return the Request behind the options: flags over --config over defaults."""
    from cloudfree.planning.plan import Request

    config, given = options["config"], dict(options)
    if given["bands"]:
        given["bands"] = [name.strip() for name in given["bands"].split(",")]
    tables: dict[str, dict[str, Any]] = {
        "selfcheck": {"places": 0 if given.get("no_check") else None},
        "uncertainty": {
            "write": bool(given.get("uncertainty") or given.get("max_uncertainty")) or None
        },
    }
    for name, (section, key) in _SETTINGS.items():
        tables.setdefault(section, {})[key] = given.get(name)
    settings = build(
        RunSettings,
        merge(read_toml(config) if config else {}, tables),
        str(config) if config else "options",
    )
    return Request(aoi=given["aoi"], date=given["date"], stac=given["stac"], settings=settings)
