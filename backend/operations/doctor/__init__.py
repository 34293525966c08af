"""`argenseg doctor`: looks at every link between Label Studio, the backend, the queue, the worker and the store."""
