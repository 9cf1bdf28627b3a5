"""Export of trained models for other runtimes.

Main path: :func:`omr.exporting.export_model` → :func:`onnx.export_onnx`.
"""
