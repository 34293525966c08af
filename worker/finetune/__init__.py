"""Fine-tune runs: requested, driven in processes of their own, judged by the gate, promoted or kept with a report."""
