"""Ground: the site's folder, its database, artefacts and lineage."""
