"""Synthetic thorax CT cohorts, as a hospital would send them: DICOM series, reference labels, and faults."""
