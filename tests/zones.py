"""A synthetic place cut into two tiles of two UTM zones, as where zones meet."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.transform import array_bounds
from rasterio.warp import Resampling, calculate_default_transform, reproject, transform_bounds

from cloudfree.synthetic.scenes import SyntheticScenes

WEST, EAST = "EPSG:32632", "EPSG:32633"
_WEST_SHARE, _EAST_SHARE = 0.55, 0.55
"""Of a scene's width: in the middle the tiles overlap."""


def cut_in_zones(scenes: SyntheticScenes) -> Path:
    """Return items in which each optical scene is two, the eastern one on the next zone's grid."""
    items = json.loads(scenes.items.read_text())
    items["features"] = [
        tile
        for item in items["features"]
        for tile in (
            [_cut(item, scenes.items.parent, crs) for crs in (WEST, EAST)]
            if item["collection"] == "sentinel-2-l2a"
            else [item]
        )
    ]
    file = scenes.items.parent / "zones.json"
    file.write_text(json.dumps(items))
    return file


def _cut(item: dict[str, Any], folder: Path, crs: str) -> dict[str, Any]:
    """Write a tile's files; return its item."""
    tile = copy.deepcopy(item)
    tile["id"] += f"-{crs[-2:]}"
    tile["properties"] = {
        key: value for key, value in tile["properties"].items() if not key.startswith("proj:")
    } | {"proj:epsg": int(crs[5:]), "s2:mgrs_tile": f"{crs[-2:]}UPU"}
    for asset in tile["assets"].values():
        source = folder / asset["href"]
        target = source.with_name(f"{source.stem}_{crs[-2:]}.tif")
        bounds = _write(source, target, crs)
        asset |= {"href": str(target.relative_to(folder))}
        for key in [key for key in asset if key.startswith("proj:")]:
            del asset[key]
    box = shapely.box(*transform_bounds(crs, "EPSG:4326", *bounds))
    ground = box.intersection(shapely.from_geojson(json.dumps(item["geometry"])))
    tile |= {"geometry": json.loads(shapely.to_geojson(ground)), "bbox": list(ground.bounds)}
    return tile


def _write(source: Path, target: Path, crs: str) -> tuple[float, float, float, float]:
    """Write one band of a tile; return its bounds."""
    with rasterio.open(source) as file:
        pixels, profile, grid = file.read(1), file.profile, file.transform
    width = pixels.shape[1]
    if crs == WEST:
        pixels = pixels[:, : 2 * round(_WEST_SHARE * width / 2)]
    else:
        first = width - 2 * round(_EAST_SHARE * width / 2)
        grid = Affine(grid.a, 0, grid.c + first * grid.a, 0, grid.e, grid.f)
        pixels, grid = _move(pixels[:, first:], grid)
    height, width = pixels.shape
    profile |= {"driver": "GTiff", "crs": crs, "transform": grid, "height": height, "width": width}
    with rasterio.open(target, "w", **profile) as file:
        file.write(pixels, 1)
    bounds: tuple[float, float, float, float] = array_bounds(height, width, grid)
    return bounds


def _move(pixels: np.ndarray, grid: Affine) -> tuple[np.ndarray, Affine]:
    """Return pixels on the next zone's grid of whole pixels, nearest neighbours."""
    height, width = pixels.shape
    found, across, down = calculate_default_transform(
        WEST, EAST, width, height, *array_bounds(height, width, grid), resolution=grid.a
    )
    left, top = (np.floor(found.c / grid.a) * grid.a, np.ceil(found.f / grid.a) * grid.a)
    moved_grid = Affine(grid.a, 0, left, 0, -grid.a, top)
    moved = np.zeros((down + 1, across + 1), pixels.dtype)
    reproject(
        pixels, moved, src_transform=grid, src_crs=WEST, dst_transform=moved_grid, dst_crs=EAST,
        resampling=Resampling.nearest,
    )  # fmt: skip
    return moved, moved_grid
