"""Where cameras are worked on: in this process, in processes of its own, on a Dask cluster."""
