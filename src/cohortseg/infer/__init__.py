"""Networks, the sliding window, the way back to the native grid, devices and weights; knows nothing of training."""
