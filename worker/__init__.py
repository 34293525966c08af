"""Floor 3: queues, jobs, the resident model process, publishing, and the supervisor. No web framework, no torch."""
