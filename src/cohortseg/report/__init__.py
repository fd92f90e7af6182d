"""The report: figures, overlays and one self-contained HTML page, made from tables, arrays and plain values."""
