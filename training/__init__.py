"""Everything that needs torch: trains the detector and predicts with it."""

import training.offline

# First of all imports: every module of this package reaches Ultralytics through here, so that
# no import order lets it look for the network.
training.offline.shut()
