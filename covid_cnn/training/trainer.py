"""Train a run: read its images, fit its network, append events, and export the best weights as a bundle.

To stop early, or to choose anything, there is the validation split, which is left out of training; the test split is
looked at once, by the finished bundle.
"""

import contextlib
import errno
import os
import traceback

import keras
import tensorflow as tf
from threadpoolctl import threadpool_limits

from covid_cnn.common.errors import CovidCnnError, RunError
from covid_cnn.common.statistics import percent
from covid_cnn.runs.run import Run, interruptible
from covid_cnn.training import calibrate, callbacks
from covid_cnn.training.callbacks import EpochRecorder, ScalarLog
from covid_cnn.training.checkpoint import Checkpoint
from covid_cnn.training.data import read_training_data
from covid_cnn.training.learner import Learner


def train_run(run: Run) -> None:
    """Train ``run`` from its last checkpoint, or from the start, and export its bundle into ``models/``.

    An interrupt (Ctrl-C, or the run's stop file) ends it within a step; the best epoch so far is still exported. Raises
    CovidCnnError where the dataset, the network, the machine or the run is not fit to train; the event ``failed`` says
    so too.
    """
    try:
        _train(run)
    except KeyboardInterrupt:
        run.append("stopped", message="Stopped before anything was exported.")
    except Exception as error:
        message = _explain_failure(error)
        with contextlib.suppress(OSError):  # of a full disk
            if not isinstance(error, CovidCnnError):
                run.log(traceback.format_exc())
            run.append("failed", message=message)
        if isinstance(error, CovidCnnError):
            raise
        raise RunError(message) from error
    finally:
        run.leave()


def _explain_failure(error: Exception) -> str:
    """A sentence on what went wrong and what to do."""
    if isinstance(error, CovidCnnError):
        return str(error)
    # TensorFlow and HDF5 have errors of their own for both; what fails in a batch is one of TensorFlow's too.
    if getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error):
        return "The disk is full: free some space, and resume the run."
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)) or "MemoryError" in str(error):
        return "The machine has too little memory for this run: choose a smaller batch size or dataset."
    return f"Training failed ({type(error).__name__}): the log of the run says more."


def _train(run: Run) -> None:
    with interruptible(run):
        keras.utils.set_random_seed(run.config.seed)
        data = read_training_data(run)
        learner = Learner(run, data)
        attention = callbacks.monitor_attention(run, data, learner.network)
        checkpoint = Checkpoint(run.checkpoint)
        for name in checkpoint.damaged:
            run.log(f"The file {name} of the checkpoint, or what it names, is damaged: the epoch before it is taken.")
        if checkpoint.epoch:
            checkpoint.restore_last(learner.model)
            run.log(f"Going on after epoch {checkpoint.epoch}.")
            _append_missing_epoch(run, checkpoint, attention)
    try:
        with interruptible(run):
            if checkpoint.epoch < run.config.epochs and not callbacks.has_stopped_early(run, checkpoint):
                # Images are varied in threads of their own, which threads of BLAS would keep waiting for one another.
                with threadpool_limits(1, "blas"):
                    _fit(run, learner, checkpoint, attention)
    except KeyboardInterrupt:
        checkpoint.read()  # it may have come between the checkpoint of an epoch and its event
        if not checkpoint.epoch:
            raise
        _append_missing_epoch(run, checkpoint, attention)
        message = f"Stopped in epoch {checkpoint.epoch}; the best epoch so far is kept."
        run.append("stopped", message=message)
    checkpoint.restore_best(learner.model)
    learner.to_float32()
    calibrate.export_run(run, data, learner, checkpoint)


def _fit(run: Run, learner: Learner, checkpoint: Checkpoint, attention: callbacks.AttentionMonitor) -> None:
    """Train the epochs that are left."""
    config, batches = run.config, learner.batches
    run.log(f"Training {config.epochs} epochs of {len(batches)} steps.")
    with contextlib.closing(ScalarLog(run, checkpoint.epoch)) as scalars:
        recorder = EpochRecorder(run, batches, learner.val_batches, checkpoint, attention, scalars)
        try:
            learner.model.fit(
                batches,
                epochs=config.epochs,
                initial_epoch=checkpoint.epoch,
                shuffle=False,
                callbacks=[recorder],
                verbose=0,
            )
        finally:
            if recorder.seconds:
                run.log(f"It waited for images for {percent(recorder.waited / recorder.seconds, 1)} of the time.")


def _append_missing_epoch(run: Run, checkpoint: Checkpoint, attention: callbacks.AttentionMonitor) -> None:
    """Append the event of the last epoch in the checkpoint, where the process that kept it ended before it did so."""
    if checkpoint.epoch not in [event.epoch for event in run.journal.epochs]:
        callbacks.tell_epoch(run, checkpoint, attention)
