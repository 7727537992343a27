"""The functions that `terraseam` exports. They run commands in processes of their own, and import none of the pipeline.

Importing the pipeline sets environment variables for GDAL and TensorFlow; a process that only calls these functions
keeps its own.
"""
