"""Synthetic thorax CT cohorts, written as a hospital would send them: DICOM series with reference labels, and faults."""
