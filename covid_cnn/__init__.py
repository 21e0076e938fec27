"""Covid CNN: train, question and demonstrate networks that look for COVID-19 pneumonia on chest X-rays.

For research and teaching only, never for diagnosis.
"""

__version__ = "0.1.0"
