"""Training of both GANs: pairs, clouds, losses, the loop, and scores beside baselines."""
