"""Makes ``omr predict`` find patches of ink with any weights; imported by processes to be killed."""

from ink_network import InkNetwork

from omr import prediction

prediction.open_network = lambda *_, **__: InkNetwork()
