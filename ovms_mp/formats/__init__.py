"""What vision graphs carry, as MediaPipe's framework/formats has it: frozen values with
arrays in them, and no protobuf. MediaPipe's messages are made of them, and they of
messages, at the edges of a graph only (`ovms_mp.formats.messages`).

A std::vector of them is a list, as everywhere; a vector of tensors is a list of arrays.
A pair, as the size of an image, is a tuple.
"""
