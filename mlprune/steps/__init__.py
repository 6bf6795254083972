"""One step of the flow a module: it reads artefacts, writes artefacts, and writes its record last."""
