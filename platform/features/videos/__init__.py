"""I3D features of videos: decoding, optical flow, the network with its released weights, and a run over a folder."""
