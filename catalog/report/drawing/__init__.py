"""Drawing: the data model of figures, their layout, heat maps and SVG."""
