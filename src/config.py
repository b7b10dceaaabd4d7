# SPDX-License-Identifier: Apache-2.0
"""The RetinaFace manual's src.config: `cfg_res50`, a dictionary of options; defaults: src/retinaface/config.py."""
from src.retinaface.config import cfg_mnet025, cfg_res50

__all__ = ["cfg_mnet025", "cfg_res50"]
