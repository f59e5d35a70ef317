"""Files below a root, on a disk, in an archive or remote; and images out of their bytes."""
