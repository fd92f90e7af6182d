"""Clean a predicted label: components, holes and morphology, class by class."""
