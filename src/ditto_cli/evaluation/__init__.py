"""The evaluation room: how close texts are to a person's, and whether they only recite. Knows nothing of training."""
