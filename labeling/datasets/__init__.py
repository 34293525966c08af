"""From corrections to training sets: which side an image is on, whom to believe, what was left out and why."""
