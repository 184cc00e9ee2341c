"""cloudfree: clouds removed from Sentinel-2 with the help of Sentinel-1, over wide areas."""
