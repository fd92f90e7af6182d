"""cohortseg: from a folder of hospital DICOM to a segmentation study one can publish."""

__version__ = "0.1.0"
