"""Everything that touches Redis and RQ: queues, jobs, the leased worker, heartbeats."""
