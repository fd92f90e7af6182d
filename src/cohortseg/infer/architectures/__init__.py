"""Networks as their papers define them: one builder a file; the table of them is `infer/networks.py`.

Each file has a builder, whose weights come from torch's global generator, and a function of the same arguments that
says how sizes go together (`extent.Extent`). Nothing is downloaded.
"""
