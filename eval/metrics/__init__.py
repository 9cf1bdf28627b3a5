"""Detection metrics: average precision per class, computed by pycocotools."""
