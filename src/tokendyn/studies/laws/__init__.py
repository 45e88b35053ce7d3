"""Laws of attention dynamics from neighbouring papers, one file each: system, closed form, measurement, check."""
