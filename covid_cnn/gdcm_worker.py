"""A script, not a module: unpacks a frame of the DICOM file on stdin with GDCM into an .npy file on stdout.

Its argument is the frame's number, from 0.

GDCM aborts its whole process at some damaged frames, so `covid_cnn.dicom` runs it in a process of its own.
"""

import io
import sys

import numpy as np
import pydicom
from pydicom.pixels import pixel_array

if __name__ == "__main__":
    dataset = pydicom.dcmread(io.BytesIO(sys.stdin.buffer.read()), force=True)
    np.save(sys.stdout.buffer, pixel_array(dataset, index=int(sys.argv[1]), decoding_plugin="gdcm"), allow_pickle=False)
