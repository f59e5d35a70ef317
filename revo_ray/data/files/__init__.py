"""List and read files on disks, in archives and on remote systems, and decode images."""
