"""Row 14 of the walk: one band of a COG as a file of its own, for loaders that read no other.

It is a virtual raster of a kilobyte that points into the COG beside it; it holds no pixel.
"""

from __future__ import annotations

from xml.etree import ElementTree

from cloudfree.geometry.grid import GridPlan, crs_of
from cloudfree.product.cog import Cog
from cloudfree.product.layers import Layer


def draw_band_view(
    plan: GridPlan, layer: Layer, cog: Cog, *, name: str, index: int, band: str
) -> bytes:
    """Return the virtual raster (GDAL's VRT) of the band at ``index`` (from 0) of a COG.

    ``name`` is the COG's in the folder in which the view will lie.
    """
    height, width = plan.geobox.shape
    root = ElementTree.Element("VRTDataset", rasterXSize=f"{width}", rasterYSize=f"{height}")
    _add(root, "SRS", crs_of(plan.geobox).to_wkt())
    _add(root, "GeoTransform", ", ".join(f"{part!r}" for part in plan.geobox.affine.to_gdal()))
    view = ElementTree.SubElement(
        root, "VRTRasterBand", dataType=layer.dtype.replace("uint", "UInt"), band="1"
    )
    statistics = cog.statistics[index]
    if statistics is not None:  # a sample of the view may hit no valid pixel, and QGIS shows none
        metadata = ElementTree.SubElement(view, "Metadata")
        for key, value in statistics.tags.items():
            _add(metadata, "MDI", value, key=key)
    _add(view, "Description", band)
    _add(view, "NoDataValue", f"{layer.empty}")
    if layer.scale is not None:
        _add(view, "Scale", f"{layer.scale!r}")
    source = ElementTree.SubElement(view, "SimpleSource")
    _add(source, "SourceFilename", name, relativeToVRT="1")
    _add(source, "SourceBand", f"{index + 1}")
    return ElementTree.tostring(root)


def _add(parent: ElementTree.Element, name: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, name, attributes).text = text
