"""What can go wrong, split by what a handler would do.

Every message says what was asked, what was found and what to do, in one line.
Every class survives pickling, since Dask workers raise them.
"""


class CloudfreeError(Exception):
    """Anything this package raises on purpose."""


class RequestError(CloudfreeError):
    """The request is wrong and nothing was done: the command line exits with 2."""


class AoiError(RequestError):
    """The area of interest cannot be used."""


class UnknownFileError(AoiError):
    """A file is of no kind that holds polygons; it may be a raster."""


class SettingsError(RequestError):
    """A setting is unknown or out of range."""


class CatalogError(RequestError):
    """The STAC catalog does not answer or is not one."""


class NoSceneError(RequestError):
    """No scene fits the area and date."""


class MaskError(RequestError):
    """A mask file cannot be used."""


class BundleError(RequestError):
    """A model bundle is missing, damaged or not for this data."""


class OutputError(RequestError):
    """The output folder cannot take this run."""


class ReadError(CloudfreeError):
    """Pixels of a scene could not be read; other chunks can go on."""


class UnreachableError(ReadError):
    """A server did not give the pixels within the run's patience; later it may."""


class StoreError(CloudfreeError):
    """The product could not be written; what was marked done is safe."""


class ClusterError(CloudfreeError):
    """The Dask cluster is gone or not fit for the run; what was marked done is safe."""


class DeviceError(CloudfreeError):
    """An accelerator cannot restore a single window."""
