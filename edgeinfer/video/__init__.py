"""Restyling of pictures and videos: decoding, the network, encoding, each in a file of its own."""
