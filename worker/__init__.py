"""Floor 3: what runs unattended. Queues, jobs, the resident model process, publishing, reconciling, fine-tune runs."""
