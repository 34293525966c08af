"""A torch-free RQ worker that drives one model process, the only importer of torch on this floor."""
