"""How alike two pictures are."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np


def similarity(one: Any, other: Any, where: Any = slice(None)) -> float:
    """Structural similarity (Wang et al. 2004) of two UINT8 images, with its Gaussian
    window of 11 pixels: the mean over pixels, or those of a mask, and channels, 1 for the
    same image.
    """
    a, b = one.astype(np.float64), other.astype(np.float64)

    def blurred(values: Any) -> Any:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    both = blurred(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    each = top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(np.mean(each[where]))
