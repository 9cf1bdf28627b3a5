"""Detection metrics: average precision per class, by pycocotools."""
