"""Tables of images: csv, tsv and parquet, with paths or with the images inside."""
